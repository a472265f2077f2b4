"""Requests for extractions, and their reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from analyses.scale_selection.config import POLICIES, SIMPLE, refuse_budgets
from feature_store.errors import InputError, require_at_least, require_choices
from feature_store.metadata import DTYPES, LAYOUTS
from feature_store.source import names_of
from workbench.datasets.decode import Decoding
from workbench.datasets.pixel_bound import usual_pixels
from workbench.models.info import Arithmetic
from workbench.multiscale.scale import scale_names

Fit = Literal["model", "pad"]
"""How an image becomes the square that a model sees."""


@dataclass(frozen=True, kw_only=True)
class ExtractRequest:
    """Options of one extraction; results depend on nothing else."""

    dataset: str
    """folder:DIR, csv:FILE, wds:URLS, tar:FILE, zip:FILE, parquet:FILES, hfdisk:DIR, lmdb:DIR,
    lerobot:DIR[#CAMERA], torchvision:NAME:SPLIT:ROOT, maps:NAME:SPLIT:ROOT (ade20k, cityscapes,
    voc, nyuv2, kitti), imagenet:NAME:ROOT (real, v2, r, a, objectnet), hf:NAME:SPLIT or
    bundled:NAME[:train|:test] (textiles, scenes, stereo, specks; photos, which are crops of only
    20 photographs)."""
    models: Sequence[str]
    """Model names, each ``MODEL`` or ``MODEL#TAP``; all run in one pass over the images."""
    scales: Sequence[str]
    """Pixels (224 448 448.whole 224x448) or multiples of the native size (1x 2x)."""
    store: str
    """Folder or URL of the store; created, or resumed."""
    limit: int | None = None
    """Use only the first N images of the dataset."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    compile: bool = False
    """Compile the forward pass (torch.compile): takes a minute, pays off on long runs. Values then
    differ by rounding, which the source's identity records."""
    dtype: str = "float16"
    """Stored dtype: float16 or float32."""
    layout: str = "raw"
    """raw (memory-mappable, for local disks) or packed (compressed, for object stores)."""
    device: str = "auto"
    """auto (cuda if available), cpu, cuda, cuda:1, ..."""
    batch: int | None = None
    """Images decoded and transferred together; by default 8 on a CPU, 32 elsewhere."""
    max_crops: int | None = None
    """Crops per forward pass: bounds memory; halved when memory runs out. By default 4 (convnets)
    or 8 on a CPU, else 64."""
    workers: int = 0
    """Decoding processes; 0 decodes in threads of this process. A GPU wants most of the cores."""
    fit: Fit = "model"
    """model: resize and crop as the model was evaluated; pad: the whole image, padded to a square
    with the model's mean colour, as LLaVA does."""
    orientation: str = "ignore"
    """EXIF orientation of photographs: ignore (as the published numbers did) or exif (apply)."""
    tolerant: bool = False
    """Keep images whose file is damaged, as far as Pillow decodes them."""
    max_pixels: int | None = None
    """Largest image in pixels (width times height); by default what fits into half the memory,
    divided by the decoding processes."""
    tokens_per_image: int = 0
    """Keep this many token positions per image, drawn at random, if the full maps of the dataset
    do not fit; 0 keeps all. The source's scale is then named 224.t16."""
    select: str | None = None
    """Run only some crops of the larger scales: random, centre, norm or variance, or the file
    policy.json of `workbench select`. The base scale is run first and fills the others."""
    budget: float | None = None
    """With --select: share of the larger scales' crops that are run, a mean over the images."""
    shard_images: int = 256
    """Images per shard of a new store: the most that a killed run has to redo."""
    retry_failed: bool = False
    """Read images again that could not be read before; with parts, when they are prepared."""
    redo_changed: bool = False
    """Compute the shards of images whose pixels have changed again, in every source of the store;
    with parts, when they are prepared."""
    recheck: bool = False
    """Re-read what is committed first and redo what is damaged; with parts, when they are
    prepared."""
    accept_code: bool = False
    """Resume sources that another version of the code or of a library began, if it gives the values
    that they hold: one committed shard of each is recomputed and compared."""

    def __post_init__(self) -> None:
        require_at_least(self, batch=1, max_crops=1, workers=0, tokens_per_image=0, shard_images=1)
        require_choices(self)
        choices = {"dtype": DTYPES, "layout": LAYOUTS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}"
                )
        self.decoding(1)
        object.__setattr__(self, "models", names_of(self.models))
        object.__setattr__(self, "scales", tuple(scale_names(self.scales)))
        self._check_selection()
        if not self.models:
            raise InputError("no model was named; give at least one --model")
        if not self.scales:
            raise InputError("no scale was named; give at least one, such as --scales 1x 2x")

    def _check_selection(self) -> None:
        if (self.select is None) != (self.budget is None):
            raise InputError(
                f"select is {self.select} and budget is {self.budget}; give both, such as "
                "--select norm --budget 0.25"
            )
        if self.budget is None:
            return
        refuse_budgets([self.budget])
        if self.select in POLICIES and self.select not in SIMPLE:
            raise InputError(
                f"select is {self.select}, which cannot be run by its name; expected "
                f"{', '.join(SIMPLE)} or a policy.json of `workbench select`"
            )
        if self.accept_code:
            raise InputError("accept_code cannot be combined with select; use another store")

    def for_device(self, device: str) -> ExtractRequest:
        """The same request with the device and its default batch size filled in."""
        batch = self.batch or (8 if device == "cpu" else 32)
        return replace(self, device=device, batch=batch)

    def decoding(self, decoders: int) -> Decoding:
        """Decoding of images into pixels, by this many decoders at once."""
        return Decoding(
            orientation=self.orientation,
            tolerant=self.tolerant,
            max_pixels=usual_pixels(decoders) if self.max_pixels is None else self.max_pixels,
        )

    @property
    def model_options(self) -> ModelOptions:
        """The options that concern the models."""
        return ModelOptions(
            device=self.device,
            arithmetic=self.arithmetic,
            compile=self.compile,
            max_crops=self.max_crops,
        )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Everything that a loaded model depends on, besides its name and weights."""

    device: str
    """Torch device."""
    arithmetic: Arithmetic
    """Arithmetic of the forward pass."""
    compile: bool = False
    """Compile the forward pass (torch.compile): takes a minute, pays off on long runs. Values then
    differ by rounding, which the source's identity records."""
    max_crops: int | None = None
    """Crops per forward pass; None: as :func:`usual_crops`."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How models run."""

    device: str = "cpu"
    """Torch device of the forward passes; tokens stay there."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    batch: int = 8
    """Images decoded and run together."""
    workers: int = 0
    """Decoding processes; 0 decodes in threads of this process. A GPU wants most of the cores."""
    fit: Fit = "model"
    """model: resize and crop as the model was evaluated; pad: the whole image, padded to a square
    with the model's mean colour, as LLaVA does."""


def usual_crops(device: str, *, convnet: bool) -> int:
    """Default number of crops per forward pass: 64, fewer on a CPU.

    There the activations of more crops spill out of the caches, those of a convnet sooner.
    """
    if device != "cpu":
        return 64
    return 4 if convnet else 8


@dataclass(frozen=True)
class ShardPart:
    """The k-th of n ranges of a store's shards, for n processes that know nothing of each other.

    Examples
    --------
    >>> [list(ShardPart(k, 3).shards(8)) for k in (1, 2, 3)]
    [[0, 1], [2, 3, 4], [5, 6, 7]]
    """

    number: int
    """Number of the part, from 1."""
    of: int
    """Number of parts."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(
                f"part {self.number}/{self.of}: expected 1/{self.of} to {self.of}/{self.of}"
            )

    @classmethod
    def parse(cls, text: str) -> ShardPart:
        """From ``K/N``, such as 3/8."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and int(of)):
            raise InputError(f"part {text!r} is not K/N, such as 3/8: the third of eight parts")
        return cls(int(number), int(of))

    def shards(self, count: int) -> range:
        """Shards of the part, of `count` in all; ranges are disjoint and differ by at most one."""
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)


@dataclass
class ExtractReport:
    """Result of an extraction."""

    store: str
    """Store that holds the features."""
    sources: list[str] = field(default_factory=list)
    """Full names of the single-scale sources asked for."""
    images: int = 0
    """Images of the store."""
    computed: int = 0
    """Images that went through at least one model in this run."""
    shards: int = 0
    """Shards committed in this run, over all sources."""
    busy: int = 0
    """Shards left to another process that holds their claim."""
    redone: int = 0
    """Upper bound on the shards that were computed again because their worker was lost."""
    failed: dict[str, str] = field(default_factory=dict)
    """Image id to reason, for images that could not be read, in this run and before."""
    crops: int = 0
    """Crops of larger scales that ``--select`` ran in this run, over all models."""
    bytes_stored: int = 0
    """Bytes of the sources' arrays."""
    seconds: float = 0.0
    """Wall time of the pass over the images; 0 when there was nothing to do."""
    stopped: bool = False
    """Whether shards are left because the run was asked to stop."""
    interrupted: bool = False
    """Whether it was asked to stop at all, be it during the last shard: what would follow, such as
    another view, is not begun."""

    @property
    def images_per_s(self) -> float:
        """Images computed per second of wall time."""
        return self.computed / self.seconds if self.seconds else 0.0
