"""A figure as a page: where panels and words lie, in inches, so that a panel is never too small and
no text runs into another; their scales and colour bars."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

PAGE = 9.0  # inches: the width of a page, 1,350 pixels in a file
PANEL = 1.5  # inches: the narrowest picture, 225 pixels in a file and 150 on a notebook's page
EDGE, GAP = 0.06, 0.07  # inches around a figure and between two panels
LETTERS, LINE = 10, 0.18  # points of a letter, inches for a line of them
WORDS = 9  # points of the words of a text, and of numbers
BAR = 3.0  # inches: the longest colour bar
OVERLAY = 0.6  # opacity of a map over its picture
EXTREME = 0.99  # of the values in a map that is scaled by itself, the part that is not cut
# Of the things in a picture; signed maps are pale around 0.
OUTLINES = {False: ("white", "cyan", "lime"), True: ("black", "darkgreen", "purple")}


class Page:
    """Where the panels of a grid lie, in inches from the upper left corner.

    names  of rows, or none
    units  one of all rows, or one for each row, which then has scales and bars of its own
    signs  of each cell
    """

    def __init__(self, cells, names, units: list, signs: list[list[bool]], limits, side: float):
        self.cells, self.signs = [], signs
        self.scales, self.bars = [], []  # of all rows, or of each row
        rows = [*range(len(cells))]
        for unit, part in zip(units, [rows] if len(units) == 1 else [[r] for r in rows]):
            self.scale([cells[r] for r in part], [signs[r] for r in part], unit, limits)
        self.shapes = [max(map(tallness, filter(None, row)), default=1.0) for row in cells]
        self.names = [wrapped(str(n), PANEL * s) for n, s in zip(names, self.shapes)]
        self.left = EDGE + margin(self.names)
        room = PAGE - self.left - EDGE - max(bars_width(bars, PANEL) for bars in self.bars)
        self.per, self.side = broken(max(map(len, cells)), room, side)
        self.right = self.left + self.per * (self.side + GAP)
        self.lines, y = [], EDGE  # (row, first column, upper edge of its panels)
        for first in range(0, max(map(len, cells)), self.per):
            for r, row in enumerate(cells):
                if part := [cell for cell in row[first : first + self.per] if cell]:
                    y += max(title_height(cell[0], self.side) for cell in part)
                    self.lines.append((r, first, y))
                    y += self.side * self.shapes[r] + GAP
            y += 0.1
        self.uprights = self.places_of_bars(y - 0.1)
        ends = [top + length + 0.1 for top, length, bars in self.uprights if bars]
        self.height = max([y - 0.1, *ends])
        wide = max(bars_width(bars, length) for _, length, bars in self.uprights)
        self.width = self.right + wide + EDGE

    def scale(self, rows, signs, unit, limits) -> None:
        """Rows that share a scale, or two where some of their maps have signs."""
        if unit is None:
            rows = [[*map(own_cell, row, own)] for row, own in zip(rows, signs)]
        pairs = [pair for row, own in zip(rows, signs) for pair in zip(row, own)]
        maps = [cell[2] for cell, _ in pairs if has_map(cell)]
        kinds = sorted({sign for cell, sign in pairs if has_map(cell)})
        self.cells += rows
        self.scales.append({sign: limits_of(maps, sign, unit, limits) for sign in kinds})
        self.bars.append(bars_of(self.scales[-1], unit))

    def places_of_bars(self, end: float) -> list[tuple]:
        """(upper edge, length, bars): beside the first lines, or beside the first of each row."""
        if len(self.bars) == 1:
            top = self.lines[0][2]
            return [(top, min(BAR, max(0.8 * PANEL, end - GAP - top)), self.bars[0])]
        return [
            (top, min(BAR, self.side * self.shapes[r] - 0.12), self.bars[r])
            for r, first, top in self.lines
            if first == 0
        ]

    def draw(self, fig: Figure, overlay: bool) -> None:
        for r, first, y in self.lines:
            tall = self.side * self.shapes[r]
            if r < len(self.names):
                wide, high = fig.get_size_inches()
                place = (EDGE / wide, 1 - (y + tall / 2) / high)
                fig.text(*place, self.names[r], rotation=90, ha="left", va="center", ma="center")
            scales = self.scales[r if len(self.scales) > 1 else 0]
            for c, cell in enumerate(self.cells[r][first : first + self.per], first):
                if cell:
                    x = self.left + (c - first) * (self.side + GAP)
                    ax = add_axes(fig, x, y, self.side, tall)
                    sign = self.signs[r][c]
                    panel(ax, cell, sign, scales.get(sign), overlay, self.side)
        for top, length, bars in self.uprights:
            x = self.right + 0.05
            for bar in bars:
                colour_bar(fig, bar, add_axes(fig, x, top, 0.13, length), length)
                x += bars_width([bar], length)


def broken(columns: int, room: float, side: float) -> tuple[int, float]:
    """How many columns stand side by side in so many inches, and how wide each is: all of them, as
    wide as `side` if that fits and no narrower than PANEL; else as few blocks of them as fit, which
    have the same number of columns but for the last."""
    fit = max(1, int((room + GAP) / (PANEL + GAP)))
    per = -(-columns // -(-columns // fit))
    return per, max(PANEL, min(side, (room + GAP) / per - GAP))


def tallness(cell) -> float:
    """Height over width of what a cell of `panels` shows."""
    height, width = np.shape(cell[1] if cell[2] is None else cell[2])[:2]
    return height / width


def margin(names: list[str]) -> float:
    """Inches for the names of rows, written upwards."""
    return max((LINE * (name.count("\n") + 1) + 0.04 for name in names), default=0.0)


def title_height(title: str, side: float) -> float:
    return LINE * (wrapped(title, side).count("\n") + 1) + 0.08 if title else 0.0


def panel(ax, cell, signed: bool, limits, overlay: bool, side: float) -> None:
    """One cell of `panels`."""
    title, picture, map, outlines = cell
    bare(ax)
    ax.set_anchor("N")
    ax.set_title(wrapped(title, side), fontsize=LETTERS, pad=4)
    over = picture is not None and overlay
    if picture is not None and (overlay or map is None):
        height, width = np.shape(picture if map is None else map)[:2]
        ax.imshow(picture, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    if map is not None:
        look = dict(cmap=colours(signed), vmin=limits[0], vmax=limits[1])
        ax.imshow(map, alpha=OVERLAY if over else 1.0, **look)
    for mask, colour in zip(outlines, itertools.cycle(OUTLINES[signed])):
        outline(ax, mask, colour)


def outline(ax, mask, colour: str = "white", width: float = 0.9) -> None:
    """The outline of a mask (H, W) over whatever is drawn."""
    if np.asarray(mask).any():
        ax.contour(np.asarray(mask, float), [0.5], colors=colour, linewidths=width)


def bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)


class Text:
    """Where the words of a text lie, in inches from the upper left corner."""

    def __init__(self, labels, scores, tokens, unit, limits, signs, *, drawn=()):
        self.tokens = [token.removesuffix("</w>") for token in tokens]
        self.labels = [wrapped(label, 1.7, WORDS) for label in labels]
        self.signs = signs
        if unit is None:
            scores = np.stack([own_scale(row, sign) for row, sign in zip(scores, signs)])
        self.scores = scores
        kinds = sorted(set(signs))
        self.scales = {sign: limits_of([scores], sign, unit, limits) for sign in kinds}
        self.bars = [bar for bar in bars_of(self.scales, unit) if bar not in drawn]
        lines = [line for label in self.labels for line in label.split("\n")]
        self.left = EDGE + max(text_width(line, WORDS) for line in lines) + 0.1
        sizes = [max(0.34, text_width(token, WORDS) + 0.14) for token in self.tokens]
        room = max(PAGE - self.left - EDGE, max(sizes))
        self.places, self.right, x, y = [], 0.0, 0.0, EDGE  # (x, y, width) in the first row
        self.tall = [max(0.27, LINE * (label.count("\n") + 1)) for label in self.labels]
        for size in sizes:
            if x + size > room + 1e-9:
                x, y = 0.0, y + sum(self.tall) + 0.12
            self.places.append((self.left + x, y, size))
            x += size
            self.right = max(self.right, self.left + x)
        self.below = y + sum(self.tall) + 0.1
        beside = [self.left + 2.0 + 0.2 + text_width(label) for *_, label in self.bars]
        self.width = max([self.right, *beside]) + EDGE
        self.height = self.below + 0.4 * len(self.bars) + EDGE

    def draw(self, fig: Figure, y: float) -> None:
        """Under what reaches down to y."""
        ax = add_axes(fig, 0, y, fig.get_size_inches()[0], self.below)
        ax.set(xlim=(0, fig.get_size_inches()[0]), ylim=(self.below, 0))
        ax.axis("off")
        for r, (label, sign, tall) in enumerate(zip(self.labels, self.signs, self.tall)):
            down = sum(self.tall[:r])
            look = dict(ha="right", va="center", fontsize=WORDS)
            for top in {place[1] for place in self.places}:
                ax.text(self.left - 0.08, top + down + tall / 2, label, **look)
            for token, value, (x, top, size) in zip(self.tokens, self.scores[r], self.places):
                shade = shade_of(value, sign, self.scales[sign])
                box = Rectangle((x, top + down), size, tall, fc=shade, ec="white", lw=1)
                ax.add_patch(box)
                dark = value == value and sum(shade[:3]) < 1.5
                look = dict(ha="center", va="center", fontsize=WORDS)
                look["color"] = "white" if dark else "black"
                ax.text(x + size / 2, top + down + tall / 2, token, **look)
        for k, bar in enumerate(self.bars):
            place = add_axes(fig, self.left, y + self.below + 0.4 * k + 0.02, 2.0, 0.13)
            colour_bar(fig, (*bar[:2], ""), place, 2.0, orientation="horizontal")
            place.text(1.06, 0.5, bar[2], transform=place.transAxes, va="center")


def shade_of(value: float, signed: bool, limits) -> tuple:
    """The colour of a score; NaN is grey."""
    shades = colours(signed).with_extremes(bad="0.9")
    return shades(plt.Normalize(*limits)(value)) if value == value else shades(np.nan)


def has_map(cell) -> bool:
    return bool(cell) and cell[2] is not None


def own_cell(cell, signed: bool):
    """A cell of `panels` with its map scaled by itself."""
    if not has_map(cell):
        return cell
    title, picture, map, outlines = cell
    return title, picture, own_scale(map, signed), outlines


def own_scale(values: np.ndarray, signed: bool) -> np.ndarray:
    """Values without signs from their smallest (0) to their 99th percentile (1), those with signs
    divided by the 99th percentile of their sizes, so that 0 stays 0; what is beyond is cut. A few
    extreme pixels, which a gradient has, would leave the rest without colour. NaN stays NaN."""
    values = np.asarray(values, float)
    low, sizes = (0.0, np.abs(values)) if signed else (np.nanmin(values), values)
    high = np.nanquantile(sizes, EXTREME)
    if high <= low:  # less than a hundredth is not the smallest
        high = np.nanmax(sizes)
    return np.clip((values - low) / ((high - low) or 1.0), -1.0 if signed else 0.0, 1.0)


def limits_of(maps: list[np.ndarray], signed: bool, unit, limits) -> tuple[float, float]:
    """Those of `own_scale` without a unit; else the given ones, symmetric where signed; None: those
    of all maps."""
    if unit is None:
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    return common_limits(maps if limits is None else [np.asarray(limits)], signed)


def common_limits(maps: list[np.ndarray], signed: bool) -> tuple[float, float]:
    low, high = min(np.nanmin(m) for m in maps), max(np.nanmax(m) for m in maps)
    most = max(abs(low), abs(high))
    return (-float(most), float(most)) if signed else (float(low), float(high))


def bars_of(scales: dict, unit: str | None) -> list[tuple]:
    """(signed, (low, high), label) of each colour bar."""
    own = "of its own range" if unit is None else " ".join(unit.split())
    return [
        (sign, scale, f"{own}, signed" if sign and len(scales) > 1 else own)
        for sign, scale in scales.items()
    ]


def bars_width(bars: list[tuple], length: float) -> float:
    """Inches that upright colour bars take with their numbers and labels."""
    wide = 0.0
    for _, scale, label in bars:
        wide += 0.35 + max(text_width(f"{t:g}", WORDS) for t in ticks_of(*scale))
        wide += LINE * (wrapped(label, length).count("\n") + 1) * bool(label)
    return wide


def ticks_of(low: float, high: float) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [t for t in ticks if low - slack <= t <= high + slack] or [low]


def colour_bar(fig: Figure, bar, ax, length: float, **options) -> None:
    signed, (low, high), label = bar
    ax.set_label("colour bar")
    drawn = plt.cm.ScalarMappable(plt.Normalize(low, high), colours(signed))
    made = fig.colorbar(drawn, cax=ax, **options)
    made.set_ticks(ticks := ticks_of(low, high), labels=[f"{t:g}" for t in ticks])
    ax.tick_params(labelsize=WORDS, length=2, pad=2)
    made.set_label(wrapped(label, length), fontsize=LETTERS)
    made.outline.set_visible(False)


def colours(signed: bool):
    return plt.get_cmap("coolwarm" if signed else "magma")


def add_axes(fig: Figure, x: float, y: float, width: float, height: float):
    """Axes whose upper left corner is at (x, y), in inches."""
    wide, tall = fig.get_size_inches()
    return fig.add_axes((x / wide, 1 - (y + height) / tall, width / wide, height / tall))


def wrapped(text: str, inches: float, size: float = LETTERS) -> str:
    """In lines of at most so many inches. A word that is longer is broken behind - _ / or, where it
    has none of them, anywhere."""
    lines = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= inches:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and text_width(word, size) > inches:
            fit = len(word) - 1
            while fit > 1 and text_width(word[:fit], size) > inches:
                fit -= 1
            sign = re.match(r".*[-_/]", word[:fit])
            cut = sign.end() if sign else fit
            lines.append(word[:cut])
            word = word[cut:]
        lines.append(word)
    return "\n".join(lines)


def text_width(text: str, size: float = LETTERS) -> float:
    """Inches of a line of text in letters of `size` points."""
    font = FontProperties(size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] / 72
