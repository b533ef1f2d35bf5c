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
# Of the things in a picture; signed maps are pale around 0.
OUTLINES = {False: ("white", "cyan", "lime"), True: ("black", "darkgreen", "purple")}


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
    rows,
    *,
    unit: str,
    signed=False,
    limits=None,
    row_names=None,
    side: float = 2.0,
    overlay: bool = True,
) -> Figure:
    """A grid of pictures and maps.

    rows     lists of (title, picture), (title, picture, map) or (title, picture, map, outlines):
             picture PIL, or None for a bare map; map (H, W), or None for a bare picture; outlines
             masks (H, W), drawn in white, then cyan; where signed, in black, then green
    unit     what the colour bar counts
    signed   whether the maps have signs, of all columns or for each; of two kinds, each has a bar
    limits   (low, high) of all maps; None: the smallest and largest value drawn. Symmetric where
             signed
    overlay  maps lie over their pictures; False: maps are drawn bare
    """
    columns = max(map(len, rows))
    signs = [signed] * columns if isinstance(signed, bool) else list(signed)
    maps = [np.asarray(cell[2]) for row in rows for cell in row if has_map(cell)]
    limits = {sign: limits_of(maps, sign, limits) for sign in signs} if maps else {}
    size = (side * columns + 0.6, (side + 0.3) * len(rows))
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    drawn = {}
    for r, row in enumerate(rows):
        for c, ax in enumerate(axes[r]):
            bare(ax)
            if c < len(row) and row[c]:
                look = dict(signed=signs[c], limits=limits.get(signs[c]), overlay=overlay)
                if image := panel(ax, row[c], **look, width=round(9 * side)):
                    drawn[signs[c]] = image
        if row_names:
            axes[r, 0].set_ylabel(row_names[r], rotation=90)
    for sign, image in sorted(drawn.items()):
        bar = fig.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label(f"{unit}, signed" if sign and len(drawn) > 1 else unit)
        bar.solids.set_alpha(1)
    return fig


def has_map(cell) -> bool:
    return bool(cell) and len(cell) > 2 and cell[2] is not None


def limits_of(maps: list[np.ndarray], signed: bool, limits) -> tuple[float, float]:
    """The given limits, symmetric where signed; None: those of all maps."""
    if limits is None:
        return common_limits(maps, signed)
    return (-float(limits[1]), float(limits[1])) if signed else limits


def common_limits(maps: list[np.ndarray], signed: bool) -> tuple[float, float]:
    low, high = min(np.nanmin(m) for m in maps), max(np.nanmax(m) for m in maps)
    most = max(abs(low), abs(high))
    return (-float(most), float(most)) if signed else (float(low), float(high))


def bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)


def panel(ax, cell, signed: bool, limits, overlay: bool, width: int):
    """One cell of `panels`; the drawn map, None where there is none."""
    title, picture, *rest = cell
    ax.set_title(textwrap.fill(title, width, break_long_words=False))
    drawn, over = None, picture is not None and overlay
    if picture is not None and (overlay or not has_map(cell)):
        ax.imshow(picture)
    if has_map(cell):
        look = dict(cmap=colours(signed), vmin=limits[0], vmax=limits[1])
        drawn = ax.imshow(rest[0], alpha=OVERLAY if over else 1.0, **look)
    for mask, colour in zip(rest[1] if len(rest) > 1 else (), OUTLINES[signed]):
        outline(ax, mask, colour)
    return drawn


def colours(signed: bool):
    return plt.get_cmap("coolwarm" if signed else "magma")


def outline(ax, mask, colour: str = "white", width: float = 0.9) -> None:
    """The outline of a mask (H, W) over whatever is drawn."""
    if np.asarray(mask).any():
        ax.contour(np.asarray(mask, float), [0.5], colors=colour, linewidths=width)


def gallery(maps: dict, cases, *, blocks: int = 1, side: float = 1.0) -> Figure:
    """Maps of images by method: a row for each method, a column for each case, on top the pictures
    and what their targets are called. The named thing is outlined where it is known.

    maps    label -> Attribution, as `explain` gives it
    cases   of images
    blocks  the rows are shared out to so many blocks, side by side
    Each map is scaled by itself, because methods have units of their own: from its smallest to its
    largest value; a signed one from blue to red, up to the 99th percentile of its sizes, 0 grey.
    """
    lines, letters = -(-len(maps) // blocks), 7 if side < 1 else 9
    size = (blocks * (side * len(cases) + 0.9), side * (lines + 1) + 0.3)
    fig = plt.figure(figsize=size, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for k, part in enumerate(np.atleast_1d(fig.subfigures(1, blocks))):
        axes = part.subplots(lines + 1, len(cases), squeeze=False)
        for ax in axes.flat:
            bare(ax)
        for i, ax in enumerate(axes[0]):
            ax.imshow(cases.samples[i].picture(tuple(cases.inputs.shape[-2:])))
            title = textwrap.fill(cases.texts[i], round(18 * side), break_long_words=False)
            ax.set_title(title, fontsize=letters)
        block = list(maps.items())[k * lines : (k + 1) * lines]
        for (label, a), row in zip(block, axes[1:]):
            name = textwrap.fill(label.replace("_", "_ "), 12).replace("_ ", "_")
            row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=letters)
            for i, ax in enumerate(row):
                scaled_panel(ax, np.asarray(a.map[i]), a.signed)
                if cases.masks is not None:
                    outline(ax, cases.masks[i], "black" if a.signed else "white", 0.5)
    return fig


def scaled_panel(ax, map: np.ndarray, signed: bool) -> None:
    """One map, scaled by itself as `gallery` says."""
    most = np.quantile(np.abs(map), 0.99)
    low, high = (-most, most) if signed else (map.min(), map.max())
    ax.imshow(map, cmap=colours(signed), vmin=low, vmax=high)


def words(
    rows: dict, tokens: list[str], *, unit: str, signed: bool = False, limits=None, width=None
) -> Figure:
    """Scores of the words of one text, a row for each label, the words written in their cells.

    rows    label -> scores (T,); what lies behind the tokens is cut, NaN is grey
    unit    what the colour bar counts
    limits  (low, high); None: the smallest and largest value, symmetric where signed
    """
    scores = np.stack([np.asarray(v, float)[: len(tokens)] for v in rows.values()])
    low, high = limits or common_limits([scores], signed)
    shades = colours(signed).with_extremes(bad="0.9")
    size = (width or min(9.0, 0.75 * len(tokens) + 1.8), 0.32 * len(rows) + 0.5)
    fig, ax = plt.subplots(figsize=size)
    drawn = ax.imshow(scores, cmap=shades, vmin=low, vmax=high, aspect="auto")
    for (r, c), value in np.ndenumerate(scores):
        dark = value == value and sum(shades((value - low) / ((high - low) or 1))[:3]) < 1.5
        word = tokens[c].removesuffix("</w>")
        place = dict(ha="center", va="center", fontsize=8)
        ax.text(c, r, word, color="white" if dark else "black", **place)
    ax.set(xticks=[], yticks=range(len(rows)), yticklabels=list(rows))
    ax.tick_params(axis="y", labelsize=8, length=0)
    fig.colorbar(drawn, fraction=0.03, pad=0.01).set_label(unit)
    return fig


def forest(lines: pd.DataFrame, *, xlabel: str, panel: str | None = None, colour=None) -> Figure:
    """Means with their intervals, one line each, left and right of zero.

    lines   columns label, mean, low, high
    panel   name of the column whose values get a panel of their own, None: one panel
    colour  name of the column whose values get a colour of their own
    """
    groups = list(lines.groupby(panel, sort=False)) if panel else [("", lines)]
    labels = list(dict.fromkeys(lines.label))
    kinds = list(dict.fromkeys(lines[colour])) if colour else [None]
    size = (2.6 * len(groups) + 0.8, 0.26 * len(labels) * max(1, 0.6 * len(kinds)) + 1.1)
    fig, axes = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
    for ax, (title, part) in zip(axes[0], groups):
        for k, kind in enumerate(kinds):
            own = part if kind is None else part[part[colour] == kind]
            place = [labels.index(v) + 0.25 * (k - (len(kinds) - 1) / 2) for v in own.label]
            spread = [own["mean"] - own.low, own.high - own["mean"]]
            look = dict(fmt="o", ms=4, color=f"C{k}", label=kind)
            ax.errorbar(own["mean"], place, xerr=spread, **look)
        ax.axvline(0, color="0.6", lw=1, zorder=0)
        ax.set_yticks(range(len(labels)), labels, fontsize=9)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(xlabel, fontsize=9)
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)  # the first on top
    if colour:
        marks = axes[0, 0].get_legend_handles_labels()
        columns = len(kinds) if len(groups) > 1 else 1
        fig.legend(*marks, loc="outside upper right", ncols=columns, fontsize=8)
    return fig


def as_picture(encoder, x) -> PIL.Image.Image:
    """A normalised picture (3, H, W) as it looks, cut to 0..255."""
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (encoder.mean, encoder.std))
    pixels = (np.asarray(x.detach().cpu()) * std + mean).clip(0, 1)
    return PIL.Image.fromarray(np.uint8(np.round(255 * pixels.transpose(1, 2, 0))))


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
    """Show the papers' claims with their verdicts, n being the independent units that speak; in a
    `make reproduce` run save each for the page of claims."""
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
                n=v.n,
                evidence=evidence,
            )
    rows = [
        {
            "claim": v.claim.id,
            "where": v.claim["where"],
            "says": v.claim.claim,
            "here": v.outcome,
            "n": "" if v.n is None else v.n,
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
