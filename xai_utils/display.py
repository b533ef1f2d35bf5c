"""One call that shows what a method returned: the map of a picture over it, the words of a text in
the colours of their scores."""

import html

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from .checks import check_finite
from .page import common_limits, shade_of
from .plots import drawable, framed, panels, scores_of
from .types import Attribution

WORD = (
    "display: inline-block; margin: 1px; padding: 2px 5px; border-radius: 3px; text-align: center;"
)


def show(attribution: Attribution, pictures=None) -> Figure | HTML:
    """A figure of maps of pictures; for texts HTML, every word with its score, in any script. As
    the last line of a notebook's cell it is drawn there; a figure is saved by `.savefig("map.png")`
    and the words are in `.data`.

    attribution  what a method returned
    pictures     of maps of pictures: a picture for each map, or one of its own where there is one
                 map, as `xai_utils.images.rgb` takes them: paths, PIL images, arrays; None: the
                 maps are drawn bare
    All maps and all texts of one attribution share a scale, from 0 or below, symmetric around 0
    where signed.
    Raises TypeError or ValueError, naming the argument, for what cannot be drawn.
    """
    if not isinstance(attribution, Attribution):
        raise TypeError(
            f"attribution must be what a method returned, got {type(attribution).__name__}"
        )
    if attribution.tokens is None:
        return maps(attribution, pictures)
    if pictures is not None:
        raise ValueError("pictures must be None for an attribution of texts")
    return HTML(texts(attribution))


def maps(a: Attribution, pictures) -> Figure:
    check_finite("attribution", a.map)
    if pictures is None:
        rows = [[("", None, map)] for map in a.map]
    else:
        several = isinstance(pictures, (list, tuple))
        pictures = pictures if several else [pictures]
        if len(pictures) != len(a.map):
            raise ValueError(f"pictures must be {len(a.map)}, one a map, got {len(pictures)}")
        rows = []
        for i, (picture, map) in enumerate(zip(pictures, a.map)):
            name = f"pictures[{i}]"
            seen = framed(drawable(picture, name), tuple(map.shape), name)
            rows.append([("", seen), ("", seen, map)])
    fig = panels(rows, unit=a.unit, signed=a.signed, limits=scale_of(a, list(a.map)))
    plt.close(fig)  # else a notebook draws it twice
    return fig


def texts(a: Attribution) -> str:
    """The words of each text on a line of its own, and below all of them what the colours mean."""
    scores = [scores_of({"map": row}, words)[0] for row, words in zip(a.map, a.tokens)]
    limits = scale_of(a, scores)
    lines = []
    for row, words in zip(scores, a.tokens):
        spans = [span(word, value, a.signed, limits) for word, value in zip(words, row)]
        lines.append(f'<div dir="auto" style="line-height: 2.6em">{"".join(spans)}</div>')
    ends = [span(f"{end:.2g}", end, a.signed, limits, scored=False) for end in limits]
    return f"{''.join(lines)}<small>{ends[0]} to {ends[1]} {html.escape(a.unit)}</small>"


def scale_of(a: Attribution, values: list) -> tuple[float, float]:
    """The scale of all values, from 0 or below; of nothing but 0, up to 1."""
    low, high = common_limits([np.asarray(v) for v in values], a.signed)
    return (min(low, 0.0), max(high, 0.0)) if high > low or high > 0 else (min(low, 0.0), 1.0)


def span(word: str, value: float, signed: bool, limits, *, scored: bool = True) -> str:
    """A word on the colour of its score, with the score below it."""
    shade = shade_of(value, signed, limits)
    letters = "white" if sum(shade[:3]) < 1.5 else "black"
    look = f"{WORD} background: {matplotlib.colors.to_hex(shade)}; color: {letters};"
    told = "" if np.isnan(value) else f"{value:.2g}"
    score = f"<br><small>{told}</small>" if scored else ""
    text = html.escape(word.removesuffix("</w>"))
    return f'<span style="{look} line-height: 1.2em" title="{told}">{text}{score}</span>'
