"""Drawing: one style, pictures beside their maps, figures and tables that also land in figures/."""

import io
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
import torch
from matplotlib.figure import Figure

from .cases import Cases
from .checks import check_finite, check_flag, check_number, check_positive
from .images import ROUNDING, check_mask, fit, rgb
from .page import LETTERS, PAGE, PANEL, WORDS, Page, Text, common_limits
from .types import Attribution, ImageEncoder

DPI = 150  # of the files
SHOWN = 100  # pixels of a notebook's page that an inch takes there
QUALITY = 85  # of a JPEG, of 100
FINE = 336  # pixels that the shorter side of a picture under a map has at least


def style() -> None:
    """seaborn's theme, and sizes that are the same in every notebook."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "axes.grid": False,
            "figure.constrained_layout.use": True,
            "axes.titlesize": LETTERS,
            "axes.labelsize": LETTERS,
            "xtick.labelsize": WORDS,
            "ytick.labelsize": WORDS,
            "font.size": LETTERS,
            "image.interpolation": "auto",
        }
    )


def panels(
    rows,
    *,
    unit: str | list | None,
    signed=False,
    limits=None,
    row_names=None,
    side: float = 2.25,
    overlay: bool = True,
) -> Figure:
    """A grid of pictures and maps. Where the columns do not fit on a page side by side, panels get
    narrower, down to PANEL; where that is not enough, the columns are broken into blocks, one below
    the other, each with all rows.

    rows     lists of (title, picture), (title, picture, map) or (title, picture, map, outlines), or
             None where a cell stays empty: picture what `xai_utils.images.rgb` takes, or numbers
             (H, W), drawn from their smallest to their largest; None for a bare map. map (H, W), or
             None for a bare picture; the picture is cut and resized as an encoder of the map's size
             sees it. outlines masks of the map's size, without a map of the picture's, drawn in
             white, cyan, lime; where signed, in black, green, purple
    unit     what the colour bar counts. None: the maps have no unit in common, and each is scaled
             by itself: one without signs from its smallest value to its 99th percentile, one with
             signs symmetrically up to that of its sizes, so that 0 stays in the middle. Give raw
             maps: of a signed map that was scaled to [0, 1] nobody can see where 0 was. A list: one
             for each row, which then has a scale and a bar of its own, between its smallest and its
             largest value
    signed   whether the maps have signs, of all columns or for each (of rows, where they have a
             unit each); of two kinds, each has a bar
    limits   (low, high) of all maps; None: the smallest and largest value drawn. Symmetric where
             signed
    side     inches that a panel is wide if the page has room; never less than PANEL
    overlay  maps lie over their pictures; False: maps are drawn bare
    Raises ValueError or TypeError, naming the cell, for what cannot be drawn as it was meant.
    """
    cells, limits = checked_rows(rows), check_limits(limits)
    check_positive(side=side)
    check_flag("overlay", overlay)
    by_rows = isinstance(unit, (list, tuple))
    units = list(unit) if by_rows else [unit]
    if by_rows and len(units) != len(rows):
        raise ValueError(f"unit must be one unit or {len(rows)} of them, got {len(units)}")
    for one in units:
        check_unit(one, limits)
    if by_rows and limits is not None:
        raise ValueError("limits must be None where each row has a unit: each has its own limits")
    count, columns = len(rows), max(map(len, cells))
    signs = signs_of(signed, count if by_rows else columns)
    signs = [[sign] * columns for sign in signs] if by_rows else [signs] * count
    if row_names is not None and len(row_names) < len(rows):
        raise ValueError(f"row_names must hold {len(rows)} names, got {len(row_names)}")
    for r, row in enumerate(cells):
        for c, cell in enumerate(row):
            if units[r if by_rows else 0] is None and cell and cell[2] is not None:
                check_sign(f"map of rows[{r}][{c}]", cell[2], signs[r][c])
    page = Page(cells, row_names or [], units, signs, limits, side)
    fig = plt.figure(figsize=(page.width, page.height), layout="none")
    page.draw(fig, overlay)
    return fig


def check_unit(unit, limits) -> None:
    if not (unit is None or isinstance(unit, str)):
        raise TypeError(f"unit must be a string or None, got {unit!r}")
    if unit is None and limits is not None:
        raise ValueError("limits must be None where unit is None: each map is scaled by itself")


def check_sign(name: str, values: np.ndarray, signed: bool) -> None:
    """What is scaled by itself as if it had no signs has no negative values."""
    low, high = np.nanmin(values), np.nanmax(values)
    if not signed and low < -1e-6 * max(high, -low):
        raise ValueError(f"{name} has negative values, so it must be called signed, got {low:.3g}")


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


def gallery(maps: dict, cases, *, side: float = PANEL) -> Figure:
    """Maps of images: a row for each case, its picture first, then a map by each method. The named
    thing is outlined where it is known. Each map is scaled by itself, as `panels` does without a
    unit, because methods have units of their own.

    maps   label -> Attribution, as `explain` gives it
    cases  of images
    side   as in `panels`
    """
    check_gallery(maps, cases)
    rows = []
    for i, sample in enumerate(cases.samples):
        outlines = [] if cases.masks is None else [cases.masks[i]]
        row = [(cases.texts[i], sample.picture(tuple(cases.inputs.shape[-2:])))]
        for label, a in maps.items():
            row.append((label if i == 0 else "", None, a.map[i], outlines))
        rows.append(row)
    signed = [False, *(a.signed for a in maps.values())]
    return panels(rows, unit=None, signed=signed, side=side)


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


def words(rows: dict, tokens: list[str], *, unit: str | None, signed=False, limits=None) -> Figure:
    """Scores of the words of one text, a row for each label, the words written in their cells. A
    text that is wider than the page goes on below.

    rows    label -> scores (T,); what lies behind the tokens is cut, NaN is grey
    unit    what the colour bar counts; None: each row is scaled by itself, as in `panels`
    signed  whether the scores have signs, of all rows or for each; of two kinds, each has a bar
    limits  (low, high); None: the smallest and largest value, symmetric where signed
    """
    limits = check_limits(limits)
    check_unit(unit, limits)
    scores = scores_of(rows, tokens)
    signs = signs_of(signed, len(rows))
    if unit is None:
        for label, row, sign in zip(rows, scores, signs):
            check_sign(f"rows[{label!r}]", row, sign)
    text = Text(list(rows), scores, tokens, unit, limits, signs)
    fig = plt.figure(figsize=(text.width, text.height), layout="none")
    text.draw(fig, 0.0)
    return fig


def pair(picture, images: dict, texts: dict, *, case: int = 0, outlines=(), side=2.25) -> Figure:
    """Both sides of one pair on one page: the picture, its map by each method, and below them the
    words of the text in the colours of their scores, a row a method.

    picture   as in `panels`
    images    label -> Attribution of the pair's picture, as `explain` gives it
    texts     label -> Attribution of the pair's text
    case      which of the Attributions' cases the pair is
    outlines  masks of the map's size
    side      as in `panels`
    Of each side: methods of one unit share a scale, which begins at 0 or below; otherwise each map
    and each row of words is scaled by itself, as in `panels`.
    """
    check_pair("images", images, case, 3)
    check_pair("texts", texts, case, 2)
    check_positive(side=side)
    tokens = next(iter(texts.values())).tokens[case]
    if any(a.tokens[case] != tokens for a in texts.values()):
        raise ValueError("texts must all be of one text, got several lists of tokens")
    scores = scores_of({label: a.map[case] for label, a in texts.items()}, tokens)
    maps = {label: np.asarray(a.map[case], float) for label, a in images.items()}
    cells = [("the picture", picture), *((k, picture, v, outlines) for k, v in maps.items())]
    unit, limits = scale_of(images, list(maps.values()))
    signs = [False, *(a.signed for a in images.values())]
    page = Page(checked_rows([cells]), [], [unit], [signs], limits, side)
    unit, limits = scale_of(texts, [scores])
    signs = [a.signed for a in texts.values()]
    text = Text(list(texts), scores, tokens, unit, limits, signs, drawn=page.bars[0])
    size = (max(page.width, text.width), page.height + text.height)
    fig = plt.figure(figsize=size, layout="none")
    page.draw(fig, overlay=True)
    text.draw(fig, page.height)
    return fig


def check_pair(name: str, maps: dict, case: int, rank: int) -> None:
    if not isinstance(maps, dict) or not maps:
        raise TypeError(f"{name} must be a dict of label -> Attribution, as explain gives it")
    check_number("case", case, 0, integer=True)
    for label, a in maps.items():
        if not isinstance(a, Attribution):
            raise TypeError(f"{name}[{label!r}] must be an Attribution, got {type(a).__name__}")
        if a.map.ndim != rank or (a.tokens is None) != (rank == 3):
            side = "a picture" if rank == 3 else "a text"
            raise ValueError(f"{name}[{label!r}] must be of {side}, got {tuple(a.map.shape)}")
        if case >= len(a.map):
            raise ValueError(f"case must be below {len(a.map)}, got {case}")


def scale_of(maps: dict, values: list[np.ndarray]) -> tuple:
    """The unit that Attributions share, and limits from 0 or below; None and None of several."""
    units = {a.unit for a in maps.values()}
    if len(units) > 1:
        return None, None
    low, high = common_limits(values, signed=False)
    return units.pop(), (min(low, 0.0), max(high, 0.0))


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
    down = -(-len(groups) // 3)
    columns = -(-len(groups) // down)
    high = 0.26 * len(labels) * max(1, 0.6 * len(kinds)) + 1.1
    size = (min(PAGE, 2.6 * columns + 1.2), high * down)
    fig, axes = plt.subplots(down, columns, figsize=size, sharey=True, squeeze=False)
    for ax in axes.flat[len(groups) :]:
        ax.remove()
    for ax, (title, part) in zip(axes.flat, groups):
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


def mask_panels(masks, titles, *, unit="mask value", side: float = PANEL) -> Figure:
    """Bare masks (n, H, W) in [0, 1], one colour bar."""
    masks = [check_drawn(m, f"masks[{i}]") for i, m in enumerate(masks)]
    if not masks or len(masks) != len(titles):
        raise ValueError(f"titles must hold {len(masks)} titles, one a mask, got {len(titles)}")
    if any(m.min() < -ROUNDING or m.max() > 1 + ROUNDING for m in masks):
        raise ValueError("masks must lie in [0, 1]")
    check_positive(side=side)
    cells = [(title, None, mask) for title, mask in zip(titles, masks)]
    return panels([cells], unit=unit, limits=(0, 1), side=side)


def show(fig: Figure, name: str, caption: str, alt: str) -> None:
    """Show a figure with its caption, an inch on SHOWN pixels, close it, and in a `make reproduce`
    run save the same file as <name>.jpg or <name>.png in the profile's folder of figures."""
    from IPython.display import Image, Markdown, display

    if not isinstance(fig, Figure):
        raise TypeError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    check_name(name)
    kind = file_kind(fig)
    data, width = file_of(fig, kind), round(SHOWN * min(PAGE, fig.get_size_inches()[0]))
    plt.close(fig)
    if folder := figures_folder():
        file = folder / f"{name}.{ENDINGS[kind]}"
        file.write_bytes(data)
        note(folder, name, kind="figure", file=file.name, caption=caption, alt=alt)
    display(Image(data=data, format=kind, width=width, alt=alt), Markdown(f"*{caption}*"))


ENDINGS = {"jpeg": "jpg", "png": "png"}


def file_kind(fig: Figure) -> str:
    """JPEG where pictures or maps are drawn, PNG for lines, dots and words."""
    return "jpeg" if any(ax.images for ax in fig.axes) else "png"


def file_of(fig: Figure, kind: str) -> bytes:
    """In true colour. JPEG keeps the full resolution of colours (4:4:4)."""
    drawn, data = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DPI, facecolor="white")
    jpeg = dict(quality=QUALITY, subsampling=0, progressive=True) if kind == "jpeg" else {}
    PIL.Image.open(drawn).convert("RGB").save(data, format=kind, optimize=True, **jpeg)
    return data.getvalue()


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
            note(folder, f"{name}-claim-{v.claim.id}", kind="verdict", **v.noted())
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
