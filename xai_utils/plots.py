"""Drawing: one style, pictures beside their maps, figures and tables that also land in figures/."""

import io
import json
import os
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
from matplotlib.figure import Figure

DPI = 80
OVERLAY = 0.6  # opacity of a map over its picture


def style() -> None:
    """seaborn's theme, and sizes that are the same in every notebook."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "axes.grid": False,
            "figure.constrained_layout.use": True,
            "axes.titlesize": 11,
            "font.size": 10,
            "image.interpolation": "nearest",
        }
    )


def panels(
    rows, *, unit: str, signed: bool = False, limits=None, row_names=None, side: float = 2.0
) -> Figure:
    """A grid of pictures and maps.

    rows    lists of (title, picture) or (title, picture, map); picture PIL, map (H, W). A map lies
            over its picture.
    unit    what the colour bar counts
    limits  (low, high) of all maps; None: the smallest and largest value drawn, symmetric where
            signed
    """
    maps = [np.asarray(cell[2]) for row in rows for cell in row if cell and len(cell) > 2]
    if limits is None and maps:
        most = max(float(np.abs(m).max()) for m in maps)
        limits = (
            (-most, most)
            if signed
            else (min(float(m.min()) for m in maps), max(float(m.max()) for m in maps))
        )
    colours = plt.get_cmap("coolwarm" if signed else "magma")
    columns = max(map(len, rows))
    fig, axes = plt.subplots(
        len(rows), columns, figsize=(side * columns + 0.6, (side + 0.3) * len(rows)), squeeze=False
    )
    drawn = None
    for r, row in enumerate(rows):
        for c, ax in enumerate(axes[r]):
            ax.set(xticks=[], yticks=[])
            sns.despine(ax=ax, left=True, bottom=True)
            if c >= len(row) or not row[c]:
                continue
            ax.set_title(textwrap.fill(row[c][0], round(9 * side), break_long_words=False))
            ax.imshow(row[c][1])
            if len(row[c]) > 2:
                drawn = ax.imshow(
                    row[c][2], cmap=colours, vmin=limits[0], vmax=limits[1], alpha=OVERLAY
                )
        if row_names:
            axes[r, 0].set_ylabel(row_names[r], rotation=90)
    if drawn is not None:
        bar = fig.colorbar(drawn, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label(unit)
        bar.solids.set_alpha(1)
    return fig


def mask_panels(masks, titles, *, unit="mask value", side: float = 1.3) -> Figure:
    """Bare masks (n, H, W) in [0, 1] in one row, one colour bar."""
    fig, axes = plt.subplots(
        1, len(masks), figsize=(side * len(masks) + 0.6, side + 0.4), squeeze=False
    )
    for ax, m, title in zip(axes[0], masks, titles):
        image = ax.imshow(m, cmap="magma", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=title)
    fig.colorbar(image, ax=axes, fraction=0.03, pad=0.01).set_label(unit)
    return fig


def show(fig: Figure, name: str, caption: str, alt: str) -> None:
    """Show a figure with its caption, close it, and in a `make reproduce` run save it as
    figures/<profile>/<name>.png."""
    from IPython.display import Image, Markdown, display

    data = small_png(fig)
    plt.close(fig)
    if folder := figures_folder():
        (folder / f"{name}.png").write_bytes(data)
        note(folder, name, kind="figure", caption=caption, alt=alt)
    display(Image(data=data, alt=alt), Markdown(f"*{caption}*"))


def small_png(fig: Figure) -> bytes:
    """A PNG with a palette of 256 colours, dithered: less than half the size, so that notebooks
    with photographs stay small.

    The colours of maps are added when the palette is chosen: of the few strong ones in a figure it
    would leave none.
    """
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", dpi=DPI)
    image = PIL.Image.open(full).convert("RGB")
    ramp = np.concatenate(
        [plt.get_cmap(name)(np.linspace(0, 1, 64))[None, :, :3] for name in ("magma", "coolwarm")],
        1,
    )
    strip = PIL.Image.fromarray(np.uint8(255 * ramp)).resize(
        (image.width, image.height // 12), PIL.Image.Resampling.NEAREST
    )
    both = PIL.Image.new("RGB", (image.width, image.height + strip.height))
    both.paste(image)
    both.paste(strip, (0, image.height))
    image.quantize(palette=both.quantize(256)).save(
        small, format="png", optimize=True
    )  # the second pass dithers
    return small.getvalue()


def show_table(table: pd.DataFrame, name: str, caption: str) -> None:
    """Show a table with its caption; in a `make reproduce` run save it as
    figures/<profile>/<name>.csv."""
    from IPython.display import Markdown, display

    if folder := figures_folder():
        table.to_csv(folder / f"{name}.csv", index=False)
        note(folder, name, kind="table", caption=caption)
    display(
        table.style.hide(axis="index").format(precision=3, na_rep="", escape="html"),
        Markdown(f"*{caption}*"),
    )


def show_verdicts(verdicts: list, name: str) -> None:
    """Show the papers' claims with their verdicts; in a `make reproduce` run save each for the page
    of claims."""
    from IPython.display import display

    for v in verdicts:
        if folder := figures_folder():
            evidence = [] if v.evidence.empty else json.loads(v.evidence.to_json(orient="records"))
            note(
                folder,
                f"{name}-claim-{v.claim.id}",
                kind="verdict",
                claim=v.claim.id,
                outcome=v.outcome,
                why=v.why,
                evidence=evidence,
            )
    rows = [
        {
            "claim": v.claim.id,
            "where": v.claim["where"],
            "says": v.claim.claim,
            "here": v.outcome,
            "why": v.why,
        }
        for v in verdicts
    ]
    display(
        pd.DataFrame(rows)
        .style.hide(axis="index")
        .set_properties(**{"text-align": "left", "white-space": "normal"})
    )


def figures_folder() -> Path | None:
    """Where this run's figures go: XAI_FIGURES, set by `make reproduce`; None in an interactive
    session."""
    return Path(os.environ["XAI_FIGURES"]) if os.environ.get("XAI_FIGURES") else None


def note(folder: Path, name: str, **fields) -> None:
    (folder / f"{name}.json").write_text(
        json.dumps(fields | {"notebook": os.environ.get("XAI_NOTEBOOK", "")})
    )
