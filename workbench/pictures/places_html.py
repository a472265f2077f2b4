"""Nearest tokens as HTML: each photograph with the token outlined, and the token's patch."""

from __future__ import annotations

from html import escape

from analyses.token_maps import Places


def places_html(
    places: Places, ids: list[str], grid: tuple[int, int], picture: str, done: float
) -> str:
    """A figure per place, with its image id, which is escaped, on a grid of (rows, cols).

    `picture` is the address of a photograph, up to the row number; `done` is the share of the store
    searched so far.
    """
    if not len(places.image):
        return '<span class="soft">no other image</span>'
    figures = [
        _figure(int(image), (int(row), int(col)), float(cosine), name, grid, picture)
        for image, row, col, cosine, name in zip(
            places.image, places.row, places.col, places.similarity, ids, strict=True
        )
    ]
    progress = "" if done >= 1 else f'<p class="soft">{done:.0%} of the store searched</p>'
    return f'<div class="places">{"".join(figures)}</div>{progress}'


def _figure(
    image: int, at: tuple[int, int], cosine: float, name: str, grid: tuple[int, int], picture: str
) -> str:
    (row, col), (rows, cols) = at, grid
    address = escape(f"{picture}{image}")
    box = (
        f"left:{100 * col / cols:.2f}%;top:{100 * row / rows:.2f}%;"
        f"width:{100 / cols:.2f}%;height:{100 / rows:.2f}%"
    )
    patch = (
        f"background-image:url({address});background-size:{100 * cols}% {100 * rows}%;"
        f"background-position:{100 * col / max(cols - 1, 1):.2f}% "
        f"{100 * row / max(rows - 1, 1):.2f}%"
    )
    caption = f"{cosine:.3f} · row {image} · {escape(name)}"
    return (
        f'<figure><div class="pair"><div class="frame"><img alt="row {image}" src="{address}">'
        f'<span style="{box}"></span></div><div class="patch" style="{patch}"></div></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
