"""Scenes: one to four stamps on a photograph, with the exact mask of every thing."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from ..checks import check_number
from .composed import LEAST, composed, largest_area
from .grounds import parts
from .samples import Dataset, Sample, Thing
from .stamps import SPLITS, table

MOST = 4  # things in a scene
COVERED = 0.1  # at most this part of an object may lie under the ones pasted after it


def scenes(
    split: str,
    seed: int,
    n: int | None,
    objects: int | None = None,
    stamps: list[str] | None = None,
) -> Dataset:
    """Scenes from a seed (see `composed`). Each thing covers 8 to 30 % of the picture; those that
    `stamps` names less where they are thin or lack room.

    objects  how many stamps in each, 1 to 4; None: drawn anew for every scene
    stamps   ids to draw from; None: all of the split
    """
    rows = rows_of(split, stamps)
    check_objects(objects, 1)
    parts()
    captions = {r["caption"] for r in rows}
    if len(captions) < (objects or MOST):
        raise ValueError(
            f"scenes of {objects or MOST} objects need as many stamps of different captions, got"
            f" {len(captions)}"
        )
    make = partial(scene, rows, split, seed, objects, LEAST if stamps is None else 0)
    return Dataset(f"scenes/{split}", 100 if n is None else n, make)


def scene(
    rows: list[dict], split: str, seed: int, objects: int | None, least: float, i: int
) -> Sample:
    rng, things = np.random.default_rng([seed, SPLITS.index(split), i, 3]), []
    k = objects or int(rng.integers(1, MOST + 1))
    while not things:  # until nobody is hidden
        chosen: dict[str, dict] = {}
        while len(chosen) < k:
            row = rows[rng.integers(len(rows))]
            if largest_area(row, k) >= least:
                chosen.setdefault(row["caption"], row)
        image, things = composed(list(chosen.values()), rng, COVERED, least)
    return Sample(f"scene-{split}-{seed}-{i}", image, sentence(things), tuple(things))


def copies(
    split: str,
    seed: int,
    n: int | None,
    objects: int | None = None,
    stamps: list[str] | None = None,
) -> Dataset:
    """Pictures of one stamp several times on one ground, no copy covering another, captioned by the
    stamp's caption. Of one seed all splits place their copies alike.

    objects  how many copies in each, 2 to 4; None: two and three by turns
    stamps   ids to draw from; None: all of the split
    """
    rows = rows_of(split, stamps)
    check_objects(objects, 2)
    parts()
    make = partial(copied, rows, split, seed, objects, LEAST if stamps is None else 0)
    return Dataset(f"copies/{split}", 100 if n is None else n, make)


def copied(
    rows: list[dict], split: str, seed: int, objects: int | None, least: float, i: int
) -> Sample:
    k, things = objects or 2 + i % 2, []
    draw = np.random.default_rng([seed, i, k, 3])
    while not things:  # until one has room; all find the same ground and places
        row = rows[draw.integers(len(rows))]
        if largest_area(row, k) >= least:
            rng = np.random.default_rng([seed, i, k, 4])
            image, things = composed([row] * k, rng, 0, least)
    return Sample(f"copies-{split}-{seed}-{i}", image, row["caption"], tuple(things))


def check_objects(objects: int | None, least: int) -> None:
    if objects is not None:
        check_number("objects", objects, least, MOST, integer=True)


def rows_of(split: str, stamps: list[str] | None) -> list[dict]:
    """The split's stamps, only those of `stamps` where ids are given."""
    rows = [r for r in table() if r["novel"] == (split == "novel")]
    if stamps is None:
        return rows
    if isinstance(stamps, str) or not isinstance(stamps, Iterable):
        raise TypeError(f"stamps must be a list of ids, got {stamps!r}")
    stamps = list(stamps)
    known = {r["id"] for r in rows}
    if unknown := [s for s in stamps if not isinstance(s, str) or s not in known]:
        raise ValueError(f"stamps not in the split {split!r}: {', '.join(map(str, unknown[:3]))}")
    if not stamps:
        raise ValueError("stamps is an empty list")
    return [r for r in rows if r["id"] in stamps]


def sentence(things: list[Thing]) -> str:
    names = [t.caption for t in things]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
