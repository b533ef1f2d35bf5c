"""Drawing: one style, pictures beside their maps, figures and tables that also land in figures/."""

import io
import itertools
import json
import os
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
import torch
from matplotlib.figure import Figure

from .cases import Cases
from .checks import check_counts, check_finite, check_flag, check_positive
from .images import ROUNDING, check_mask, fit, rgb
from .types import Attribution, ImageEncoder

DPI = 80
FINE = 224  # pixels that the shorter side of a picture under a map has at least
OVERLAY = 0.6  # opacity of a map over its picture
LINE = 0.2  # inches for a line of a title
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

    rows     lists of (title, picture), (title, picture, map) or (title, picture, map, outlines), or
             None where a cell stays empty: picture what `xai_utils.images.rgb` takes, or numbers
             (H, W), drawn from their smallest to their largest; None for a bare map. map (H, W), or
             None for a bare picture; the picture is cut and resized as an encoder of the map's size
             sees it. outlines masks of the map's size, without a map of the picture's, drawn in
             white, cyan, lime; where signed, in black, green, purple
    unit     what the colour bar counts
    signed   whether the maps have signs, of all columns or for each; of two kinds, each has a bar
    limits   (low, high) of all maps; None: the smallest and largest value drawn. Symmetric where
             signed
    overlay  maps lie over their pictures; False: maps are drawn bare
    Raises ValueError or TypeError, naming the cell, for what cannot be drawn as it was meant.
    """
    cells, limits = checked_rows(rows), check_limits(limits)
    check_positive(side=side)
    check_flag("overlay", overlay)
    columns = max(map(len, cells))
    signs = signs_of(signed, columns)
    if row_names is not None and len(row_names) < len(rows):
        raise ValueError(f"row_names must hold {len(rows)} names, got {len(row_names)}")
    maps = [cell[2] for row in cells for cell in row if has_map(cell)]
    limits = {sign: limits_of(maps, sign, limits) for sign in signs} if maps else {}
    width = round(9 * side)
    longer = sum(max(0, most_lines(row, width) - 4) for row in cells)
    size = (side * columns + 0.6, (side + 0.3) * len(rows) + LINE * longer)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    drawn = {}
    for r, row in enumerate(cells):
        for c, ax in enumerate(axes[r]):
            bare(ax)
            if c < len(row) and row[c]:
                look = dict(signed=signs[c], limits=limits.get(signs[c]), overlay=overlay)
                if image := panel(ax, row[c], **look, width=width):
                    drawn[signs[c]] = image
        if row_names:
            axes[r, 0].set_ylabel(row_names[r], rotation=90)
    for sign, image in sorted(drawn.items()):
        bar = fig.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label(f"{unit}, signed" if sign and len(drawn) > 1 else unit)
        bar.solids.set_alpha(1)
    return fig


def checked_rows(rows) -> list[list[tuple | None]]:
    """The rows of `panels` with cells (title, picture, map, outlines) that can be drawn."""
    if not isinstance(rows, (list, tuple)) or not rows:
        raise TypeError(f"rows must be a list of rows, got {rows!r}")
    for r, row in enumerate(rows):
        if not isinstance(row, (list, tuple)) or row and isinstance(row[0], str):
            raise TypeError(f"rows[{r}] must be a list of cells (title, picture, map, outlines)")
    if not any(map(len, rows)):
        raise ValueError("rows has no cells")
    return [
        [cell and checked_cell(cell, f"rows[{r}][{c}]") for c, cell in enumerate(row)]
        for r, row in enumerate(rows)
    ]


def checked_cell(cell, where: str) -> tuple:
    if not isinstance(cell, (list, tuple)) or not 2 <= len(cell) <= 4:
        raise TypeError(f"{where} must be (title, picture, map, outlines) or its beginning")
    title, picture, map, outlines = (*cell, None, None)[:4]
    if not isinstance(title, str):
        raise TypeError(f"title of {where} must be a string, got {type(title).__name__}")
    if picture is not None:
        picture = drawable(picture, f"picture of {where}")
    if map is not None:
        map = check_drawn(map, f"map of {where}")
        picture = picture if picture is None else framed(picture, map.shape, f"picture of {where}")
    if picture is None and map is None:
        raise ValueError(f"{where} has neither a picture nor a map")
    shape = map.shape if map is not None else np.shape(picture)[:2]
    outlines = () if outlines is None else outlines
    if not isinstance(outlines, (list, tuple, np.ndarray, torch.Tensor)):
        raise TypeError(f"outlines of {where} must be a list of masks, got {outlines!r}")
    outlines = [check_mask(mask, f"outline of {where}") for mask in outlines]
    for mask in outlines:
        if mask.shape != shape:
            raise ValueError(f"outlines of {where} must have shape {shape}, got {mask.shape}")
    return title, picture, map, outlines


def drawable(picture, name: str):
    """A picture as PIL, or numbers (H, W) as an array."""
    kinds = (np.ndarray, torch.Tensor)
    if isinstance(picture, kinds) and picture.ndim == 2 and "float" in str(picture.dtype):
        return check_drawn(picture, name)
    return rgb(picture, name)


def framed(picture, shape: tuple[int, int], name: str):
    """The part of a picture that a map of this shape (H, W) is of, not coarser than FINE pixels."""
    if np.shape(picture)[:2] == shape:
        return picture
    if isinstance(picture, np.ndarray):
        raise ValueError(f"{name} must have the map's shape {shape}, got {picture.shape}")
    times = -(-FINE // min(shape))
    return fit(picture, (times * shape[0], times * shape[1]))


def check_drawn(values, name: str) -> np.ndarray:
    """Numbers (H, W), none of them NaN or infinite."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    values = np.asarray(values)
    if values.ndim != 2 or not values.size:
        hint = ": plots.words draws scores of words" if values.ndim == 1 else ""
        raise ValueError(f"{name} must be (H, W), got {values.shape}{hint}")
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise TypeError(f"{name} must hold numbers, got {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return values


def check_limits(limits) -> tuple[float, float] | None:
    if limits is None:
        return None
    try:
        low, high = (float(v) for v in limits)
    except (TypeError, ValueError):
        raise ValueError(f"limits must be (low, high), got {limits!r}") from None
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ValueError(f"limits must be finite numbers (low, high), got {limits!r}")
    return low, high


def signs_of(signed, columns: int) -> list[bool]:
    """Whether each column has signs."""
    signs = [signed] * columns if isinstance(signed, (bool, np.bool_)) else signed
    if not isinstance(signs, (list, tuple)) or len(signs) < columns:
        raise ValueError(f"signed must be True, False or {columns} of them, got {signed!r}")
    for sign in signs:
        check_flag("signed", sign)
    return [bool(sign) for sign in signs]


def has_map(cell) -> bool:
    return bool(cell) and cell[2] is not None


def limits_of(maps: list[np.ndarray], signed: bool, limits) -> tuple[float, float]:
    """The given limits, symmetric where signed; None: those of all maps."""
    return common_limits(maps if limits is None else [np.asarray(limits)], signed)


def common_limits(maps: list[np.ndarray], signed: bool) -> tuple[float, float]:
    low, high = min(np.nanmin(m) for m in maps), max(np.nanmax(m) for m in maps)
    most = max(abs(low), abs(high))
    return (-float(most), float(most)) if signed else (float(low), float(high))


def bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)


def most_lines(row, width: int) -> int:
    """Of the longest title in a row of `panels`."""
    return max((title_of(cell[0], width).count("\n") + 1 for cell in row if cell), default=0)


def title_of(title: str, width: int) -> str:
    """In lines of about `width` characters."""
    return textwrap.fill(title, width, break_long_words=False)


def panel(ax, cell, signed: bool, limits, overlay: bool, width: int):
    """One cell of `panels`; the drawn map, None where there is none."""
    title, picture, map, outlines = cell
    ax.set_title(title_of(title, width))
    drawn, over = None, picture is not None and overlay
    if picture is not None and (overlay or map is None):
        height, length = np.shape(picture if map is None else map)[:2]
        ax.imshow(picture, extent=(-0.5, length - 0.5, height - 0.5, -0.5))
    if map is not None:
        look = dict(cmap=colours(signed), vmin=limits[0], vmax=limits[1])
        drawn = ax.imshow(map, alpha=OVERLAY if over else 1.0, **look)
    for mask, colour in zip(outlines, itertools.cycle(OUTLINES[signed])):
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
    check_gallery(maps, cases)
    check_counts(blocks=blocks)
    check_positive(side=side)
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


def check_gallery(maps: dict, cases) -> None:
    if not isinstance(cases, Cases) or not isinstance(cases.inputs, torch.Tensor):
        raise TypeError(f"cases must be cases of images, got {type(cases).__name__}")
    if not isinstance(maps, dict) or not maps:
        raise TypeError("maps must be a dict of label -> Attribution, as explain gives it")
    wanted = (len(cases), *cases.inputs.shape[-2:])
    for label, a in maps.items():
        if not isinstance(a, Attribution):
            raise TypeError(f"maps[{label!r}] must be an Attribution, got {type(a).__name__}")
        if tuple(a.map.shape) != wanted:
            raise ValueError(
                f"maps[{label!r}] must have shape {wanted} for these cases, got"
                f" {tuple(a.map.shape)}"
            )
        check_finite(f"maps[{label!r}]", a.map)


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
    check_flag("signed", signed)
    if width is not None:
        check_positive(width=width)
    scores = scores_of(rows, tokens)
    low, high = check_limits(limits) or common_limits([scores], signed)
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


def scores_of(rows: dict, tokens: list[str]) -> np.ndarray:
    """Scores of words, (rows, T), of which at least one is no NaN."""
    if not isinstance(tokens, (list, tuple)) or not tokens:
        raise TypeError(f"tokens must be a list of the words of one text, got {tokens!r}")
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError("tokens must be the words of one text, a list of strings: a.tokens[0]")
    if not isinstance(rows, dict) or not rows:
        raise TypeError(f"rows must be a dict of label -> scores (T,), got {rows!r}")
    found = []
    for label, values in rows.items():
        values = values.detach().cpu() if isinstance(values, torch.Tensor) else values
        values = np.asarray(values, float)
        if values.ndim != 1 or len(values) < len(tokens):
            raise ValueError(
                f"rows[{label!r}] must hold {len(tokens)} scores, one a token, got {values.shape}"
            )
        if np.isinf(values[: len(tokens)]).any():
            raise ValueError(f"rows[{label!r}] holds infinite values")
        found.append(values[: len(tokens)])
    scores = np.stack(found)
    if np.isnan(scores).all():
        raise ValueError("rows holds no score, only NaN")
    return scores


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
    if not isinstance(encoder, ImageEncoder):
        raise TypeError(f"encoder must be an image encoder, got {type(encoder).__name__}")
    if not isinstance(x, torch.Tensor) or x.ndim != 3 or x.shape[0] != 3:
        got = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"x must be one picture, a tensor (3, H, W), got {got}")
    check_finite("x", x)
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (encoder.mean, encoder.std))
    pixels = (np.asarray(x.detach().cpu()) * std + mean).clip(0, 1)
    return PIL.Image.fromarray(np.uint8(np.round(255 * pixels.transpose(1, 2, 0))))


def mask_panels(masks, titles, *, unit="mask value", side: float = 1.3) -> Figure:
    """Bare masks (n, H, W) in [0, 1] in one row, one colour bar."""
    masks = [check_drawn(m, f"masks[{i}]") for i, m in enumerate(masks)]
    if not masks or len(masks) != len(titles):
        raise ValueError(f"titles must hold {len(masks)} titles, one a mask, got {len(titles)}")
    if any(m.min() < -ROUNDING or m.max() > 1 + ROUNDING for m in masks):
        raise ValueError("masks must lie in [0, 1]")
    check_positive(side=side)
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
    <name>.png in the profile's folder of figures."""
    from IPython.display import Image, Markdown, display

    if not isinstance(fig, Figure):
        raise TypeError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    check_name(name)
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
    <name>.csv in the profile's folder of figures."""
    from IPython.display import Markdown, display

    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a DataFrame, got {type(table).__name__}")
    check_name(name)
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


def check_name(name: str) -> None:
    """Of a figure or table, which is a file's name too."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ValueError(f"name must be a file's name without its ending, got {name!r}")


def figures_folder() -> Path | None:
    """Where this run's figures go: XAI_FIGURES, set by `make reproduce`; None in an interactive
    session."""
    return Path(os.environ["XAI_FIGURES"]) if os.environ.get("XAI_FIGURES") else None


def note(folder: Path, name: str, **fields) -> None:
    (folder / f"{name}.json").write_text(
        json.dumps(fields | {"notebook": os.environ.get("XAI_NOTEBOOK", "")})
    )
