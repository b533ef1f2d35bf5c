"""Draws docs/data.md, which says how each data set of the papers must lie on the disk, from the
readers themselves: `python -m tools.data_page`."""

import inspect
from pathlib import Path

from xai_utils.data import SOURCES
from xai_utils.data.distributed import CAPTIONS, Source

FILE = Path(__file__).parents[1] / "docs" / "data.md"
INTRO = """# The papers' data sets

`xu.load_dataset(name, split=, n=, seed=, root=None)` reads the data sets below as they are
distributed, from `XAI_DATA/<name>/`, or from `root`, which is that folder or the one above it.
Nothing is downloaded: each set has terms that its users agree to themselves. A link to where the
files lie already will do.

- `xu.load_dataset("flickr8k/train")` is short for `split="train"`; without a split, the first one.
- `n` samples are drawn by `seed`; of the same seed, fewer are the beginning of more.
- `captions`, {captions}: which of a picture's captions is the sample's `caption`; `captions` of
  the sample has them all.
- A picture is opened when its sample is asked for. A sample that cannot be read raises
  `SampleError` then; `cases` leaves it out with a warning, `evaluate` gives it rows with an error.
- `python -c 'from xai_utils.data import lacks; print(lacks("coco"))'` says what is missing.

This file is drawn by `python -m tools.data_page`; a test compares the two.
"""


def page() -> str:
    named = ", ".join(f'`"{choice}"`' for choice in CAPTIONS)
    return INTRO.format(captions=named) + "".join(section(s) for s in SOURCES.values())


def section(source: Source) -> str:
    """What the docstring of a reader's module says, its indented lines as they stand."""
    said = inspect.getdoc(inspect.getmodule(source.read))
    splits = ", ".join(f"`{split}`" for split in source.splits)
    parts = [block(part, source.name) for part in said.split("\n\n")]
    body = "\n\n".join(parts)
    terms = f"Splits: {splits}. Distributed by {source.where}; terms: {source.terms}."
    return f"\n## {source.name}\n\n{body}\n\n{terms}\n"


def block(part: str, name: str) -> str:
    """A paragraph, or the files of a set as they are laid out, which begin with its name."""
    return f"```\n{part}\n```" if part.startswith(f"{name}/") else part


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
