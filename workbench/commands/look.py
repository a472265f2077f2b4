"""``workbench look``: still pictures of what a source sees in an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

import feature_store
from feature_store import InputError
from workbench.results import strict_json
from workbench.results.messages import note, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Look:
    r"""Draw token maps of an image: colours, similarity, loss, or the gain of each scale.

    Maps are read from a store, or computed from image files.

    Examples
    --------
    workbench look train.zarr --image 3 --out pictures
    workbench look train.zarr --image 3 --kind similarity --token 2 4 --out pictures
    workbench look --images photo.jpg --model bundled:efficientnet_lite0 --scales 1x 2x \
        --out pictures
    """

    store: tyro.conf.Positional[str | None] = None
    """Store with the image."""
    out: Path
    """Folder for KIND_ROW.png and KIND_ROW.svg."""
    image: str | None = None
    """Image id, or else row number."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source. By default one model at all its
    stored scales; an S2 source is shown with its parts."""
    kind: Literal["tokens", "similarity", "loss", "scales"] = "tokens"
    """tokens: three principal components as colours. similarity: cosine to --token. loss: error of
    reconstructing --target at each token. scales: how much each scale lowers that error."""
    token: tuple[int, int] | None = None
    """Row and column of a token, on the first source's grid."""
    target: str | None = None
    """Source to reconstruct."""
    train: str | None = None
    """Store to fit the reconstruction on; by default the store itself."""
    foreground: tuple[float, float] | None = None
    """Hide tokens whose first component, 0 to 1 over the dataset, lies outside LOW HIGH."""
    images: tuple[str, ...] = ()
    """Image files, instead of a store."""
    model: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """MODEL[#TAP] to run on --images; repeat for several."""
    scales: tuple[str, ...] = ("1x",)
    """Scales of --images in pixels, or multiples of the native size."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.figures import style

        maps, rows = self._maps()
        written: list[Path] = []
        ids: list[str] = []
        for row in rows:
            written += style.save(self._draw(maps, row), self.out / f"{self.kind}_{row}")
            ids.append(str(maps.image_ids[row]))
        if self.json:
            files = [str(path) for path in written]
            show(strict_json.dumps({"kind": self.kind, "images": ids, "files": files}))
        else:
            names = ", ".join(path.name for path in written)
            note(f"wrote {names} in {self.out}")
        return 0

    def _maps(self) -> tuple[Any, list[int]]:
        """The maps, and the rows to draw."""
        if (self.store is None) == (not self.images):
            raise InputError("name either a store, or --images with --model")
        if self.images:
            from workbench.pictures.computed import ComputedMaps

            computed = ComputedMaps(self.images, self.model, self.scales)
            return computed, list(range(len(self.images)))
        from workbench.pictures.maps import find_image
        from workbench.pictures.stored import StoredMaps

        assert self.store is not None
        if self.image is None:
            raise InputError("name an image of the store: --image ID, or a row number")
        store = feature_store.open(self.store)
        train = None if self.train is None else feature_store.open(self.train)
        return StoredMaps(store, train), [find_image(store.image_ids, self.image)]

    def _draw(self, maps: Any, row: int) -> Figure:
        from workbench.figures import look

        if self.kind == "tokens":
            return look.tokens(maps, image=row, sources=self.source, foreground=self.foreground)
        if self.kind == "similarity":
            if self.token is None:
                raise InputError("--kind similarity needs --token ROW COL")
            return look.similarity(maps, image=row, sources=self.source, token=self.token)
        if self.target is None:
            raise InputError(f"--kind {self.kind} needs --target, a source to reconstruct")
        if self.kind == "loss":
            return look.loss(maps, image=row, target=self.target, sources=self.source)
        if len(self.source) > 1:
            raise InputError(f"--kind scales shows one --source, found {len(self.source)}")
        return look.scales(maps, image=row, target=self.target, source="".join(self.source))
