"""Scenes: one to four stamps on a photographic texture, with the exact mask of every object."""

from collections.abc import Iterable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from ..checks import check_flag, check_number
from .composed import LEAST, composed, largest_area
from .grounds import parts
from .photos import photos
from .samples import Dataset, Sample, Thing
from .stamps import SIDE, SPLITS, paste, table

SCALE = {
    1: (0.45, 0.7),
    2: (0.38, 0.5),
    3: (0.32, 0.42),
    4: (0.28, 0.38),
}  # of the side, by number of objects
COVERED = 0.1  # at most this part of an object may lie under the ones pasted after it


def scenes(
    split: str,
    seed: int,
    n: int | None,
    objects: int | None = None,
    stamps: list[str] | None = None,
    natural: bool = False,
) -> Dataset:
    """Scenes from a seed.

    objects  how many stamps in each, 1 to 4; None: drawn anew for every scene
    stamps   ids to draw from; None: all of the split
    natural  like photographs (see `composed`) instead of on textures. Each thing covers 8 to 30 %
             of the picture; those that `stamps` names less where they are thin or lack room
    """
    rows = rows_of(split, stamps)
    check_objects(objects, 1)
    check_natural(natural)
    captions = {r["caption"] for r in rows}
    if len(captions) < (objects or 4):
        raise ValueError(
            f"scenes of {objects or 4} objects need as many stamps of different captions, got"
            f" {len(captions)}"
        )
    make = partial(scene, rows, split, seed, objects)
    if natural:
        make = partial(natural_scene, rows, split, seed, objects, LEAST if stamps is None else 0)
    return Dataset(f"scenes/{split}", 100 if n is None else n, make)


def scene(rows: list[dict], split: str, seed: int, objects: int | None, i: int) -> Sample:
    rng = np.random.default_rng([seed, SPLITS.index(split), i, 2])
    things: list[Thing] = []
    while not things:  # until nobody is hidden
        image, things = compose(rows, objects or int(rng.integers(1, 5)), rng)
    return Sample(f"scene-{split}-{seed}-{i}", image, sentence(things), tuple(things))


def natural_scene(
    rows: list[dict], split: str, seed: int, objects: int | None, least: float, i: int
) -> Sample:
    rng, things = np.random.default_rng([seed, SPLITS.index(split), i, 3]), []
    k = objects or int(rng.integers(1, 5))
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
    natural: bool = False,
) -> Dataset:
    """Pictures of one stamp several times on a texture, no copy covering another, captioned by the
    stamp's caption. Of one seed all splits place their copies alike.

    objects  how many copies in each, 2 to 4; None: two and three by turns
    stamps   ids to draw from; None: all of the split
    natural  as of `scenes`
    """
    rows = rows_of(split, stamps)
    check_objects(objects, 2)
    check_natural(natural)
    make = partial(copied, rows, split, seed, objects)
    if natural:
        make = partial(natural_copies, rows, split, seed, objects, LEAST if stamps is None else 0)
    return Dataset(f"copies/{split}", 100 if n is None else n, make)


def copied(rows: list[dict], split: str, seed: int, objects: int | None, i: int) -> Sample:
    k = objects or 2 + i % 2
    rng = np.random.default_rng([seed, i, k])
    row, things = rows[rng.integers(len(rows))], []
    while not things:  # until none covers another
        image, free = ground(rng), np.ones((SIDE, SIDE), bool)
        for _ in range(k):
            image, thing = paste(image, row, rng, SCALE[k], free)
            things.append(thing)
            free &= ~thing.mask
        if sum(t.mask.sum() for t in things) > (~free).sum():
            things = []
    return Sample(f"copies-{split}-{seed}-{i}", image, row["caption"], tuple(things))


def natural_copies(
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


def check_natural(natural: bool) -> None:
    check_flag("natural", natural)
    if natural:
        parts()


def check_objects(objects: int | None, least: int) -> None:
    if objects is not None:
        check_number("objects", objects, least, max(SCALE), integer=True)


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


def compose(rows: list[dict], k: int, rng: np.random.Generator) -> tuple[Image.Image, list[Thing]]:
    image, things, free = ground(rng), [], np.ones((SIDE, SIDE), bool)
    while len(things) < k:
        row = rows[rng.integers(len(rows))]
        if row["caption"] in [t.caption for t in things]:
            continue
        image, thing = paste(image, row, rng, SCALE[k], free)
        free &= ~thing.mask
        seen = [Thing(t.caption, t.box, t.mask & ~thing.mask) for t in things]
        if any(new.mask.sum() < (1 - COVERED) * old.mask.sum() for new, old in zip(seen, things)):
            return image, []
        things = [*seen, thing]
    return image, things


def ground(rng: np.random.Generator) -> Image.Image:
    """A crop of a texture, tinted, or of a photograph, blurred beyond recognition."""
    if rng.random() < 0.6:
        texture = textures()[rng.integers(3)]
        left, top = rng.integers(0, texture.width - SIDE, 2)
        crop = (
            np.asarray(texture.crop((left, top, left + SIDE, top + SIDE)), float)[..., None] / 255
        )
        return Image.fromarray(np.uint8(255 * (crop * rng.uniform(0.6, 1, 3)).clip(0, 1)))
    photo = photo_grounds()[rng.integers(len(photo_grounds()))]
    left, top = rng.integers(0, photo.width - SIDE + 1), rng.integers(0, photo.height - SIDE + 1)
    return photo.crop((left, top, left + SIDE, top + SIDE))


@cache
def textures() -> list[Image.Image]:
    folder = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
    return [
        Image.open(folder / f"{name}.png").convert("L") for name in ("grass", "gravel", "brick")
    ]


@cache
def photo_grounds() -> list[Image.Image]:
    return [s.image.filter(ImageFilter.GaussianBlur(16)) for s in photos("test", 0, 9)]


def sentence(things: list[Thing]) -> str:
    names = [t.caption for t in things]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
