"""Draws all pictures of one of the kit's data sets with the outlines of their things and all
captions, to look at: `python -m tools.sheet photos build/photos.png`."""

import argparse
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from xai_utils import plots
from xai_utils.data import EMBEDDED, Sample, load_dataset

COLUMNS = 6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sheet", description=__doc__)
    parser.add_argument("dataset", choices=sorted(EMBEDDED))
    parser.add_argument("target", type=Path)
    parser.add_argument("-n", type=int, help="how many of the set; all without it")
    args = parser.parse_args()
    samples = load_dataset(args.dataset, n=args.n)[:]
    rows = -(-len(samples) // COLUMNS)
    plots.style()
    fig, axes = plt.subplots(rows, COLUMNS, figsize=(3.6 * COLUMNS, 3.7 * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, sample in zip(axes.flat, samples):
        draw(ax, sample)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.target, dpi=100)


def draw(ax, sample: Sample) -> None:
    """The whole picture, its captions below, those of things in the colour of their outline."""
    ax.imshow(sample.image)
    ax.set_title(f"{sample.id} ({sample.label})", fontsize=9)
    text = textwrap.fill(sample.caption, 46)
    below = ax.text(0, -0.02, text, fontsize=8, va="top", transform=ax.transAxes)
    for k, thing in enumerate(sample.things):
        colour = plt.get_cmap("tab10")(k)
        if thing.mask is not None:
            plots.outline(ax, thing.mask, colour, 2)
        for left, top, right, bottom in () if thing.mask is not None else thing.boxes:
            size = (right - left, bottom - top)
            ax.add_patch(Rectangle((left, top), *size, fill=False, color=colour, lw=2))
        start = {"xy": (0, 0), "xycoords": below, "va": "top"}
        below = ax.annotate(thing.caption, fontsize=8, color=colour, **start)


if __name__ == "__main__":
    main()
