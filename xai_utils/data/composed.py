"""Stamps put on a photograph so that all of it could be one photograph, with the exact mask of
every thing.

A thing stands on the floor of its ground, the nearer the lower in the picture, and covers what
stands behind it. Its edge is soft and free of the colours that it was cut out of, its light comes a
little nearer to that of the ground, and below it lies a soft shadow, which is no part of it.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageStat

from .grounds import ground
from .samples import Thing
from .stamps import SIDE

LEAST = 0.09  # of the picture: the area of a thing, a part of which nearer ones may cover
AREA = {1: (0.15, 0.29), 2: (0.11, 0.2), 3: (LEAST, 0.13), 4: (LEAST, 0.11)}  # each of so many
LONGEST = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}  # longer side of a thing, of the picture's side
ENLARGED = 1.6  # no stamp is enlarged more than that
LAYOUTS = 10  # of the same things on one ground, until none covers too much of another
SMALLER = 0.9  # what the sides become where no layout is found
TRIES = 12  # places for each thing
OPAQUE = 240  # of 255: the least alpha of a pixel whose colour is the thing's alone
ADAPT = 0.1  # how far the light on a thing goes towards that of its ground; 1 makes them equal

Place = tuple[int, int]  # left, top


def composed(
    rows: list[dict], rng: np.random.Generator, covered: float, least: float
) -> tuple[Image.Image, list[Thing]]:
    """The stamps of `rows` on a ground, the farthest first. Where there is no room for them they
    become smaller; no things where one would cover less than `least` of the picture.

    covered  at most this part of a thing lies under nearer ones
    """
    (image, floor), k = ground(rng), len(rows)
    areas = sorted(rng.uniform(*AREA[k], k), reverse=True)
    sides = [side_of(row, area, k) for row, area in zip(rows, areas)]
    lean, found, things = rng.uniform(-0.25, 0.25), [], []
    while not found:
        stamps = [resized(row, side) for row, side in zip(rows, sides)]
        if min(opaque(stamp).sum() for stamp in stamps) < 0.99 * least * SIDE**2:
            return image, []
        found = arranged(stamps, floor, covered, rng)
        sides = [SMALLER * side for side in sides]
    for j, (left, top), mask in found:
        image = put(image, stamps[j], (left, top), lean)
        box = (left, top, left + stamps[j].width, top + stamps[j].height)
        things.append(Thing(rows[j]["caption"], box, mask))
    return image, things


def arranged(
    stamps: list[Image.Image], floor: int, covered: float, rng: np.random.Generator
) -> list[tuple[int, Place, np.ndarray]]:
    """(number, place, what is seen of it) of every stamp, the farthest first; an empty list where
    none of LAYOUTS leaves enough of all to be seen."""
    for _ in range(LAYOUTS):
        places = layout(stamps, floor, rng)
        order = sorted(range(len(stamps)), key=lambda j: places[j][1] + stamps[j].height)
        masks = [mask_at(stamps[j], places[j]) for j in order]
        seen = [mask & ~np.any(masks[i + 1 :], axis=0) for i, mask in enumerate(masks)]
        if all(s.sum() >= (1 - covered) * m.sum() for s, m in zip(seen, masks)):
            return [(j, places[j], mask) for j, mask in zip(order, seen)]
    return []


@cache
def filled(file: Path) -> tuple[float, int]:
    """How much of the square over a stamp's longer side is opaque, and that side in pixels."""
    with Image.open(file) as stamp:
        return opaque(stamp).sum() / max(stamp.size) ** 2, max(stamp.size)


def opaque(stamp: Image.Image) -> np.ndarray:
    return np.asarray(stamp.getchannel("A")) >= 128


def side_of(row: dict, area: float, k: int) -> float:
    """The longer side at which a stamp covers `area` of the picture, but no longer than it may be
    as one of k."""
    part, pixels = filled(row["file"])
    return min(SIDE * (area / part) ** 0.5, SIDE * LONGEST[k], pixels * ENLARGED)


def largest_area(row: dict, k: int) -> float:
    """How much of the picture a stamp can cover as one of k."""
    return (side_of(row, 1, k) / SIDE) ** 2 * filled(row["file"])[0]


def resized(row: dict, side: float) -> Image.Image:
    with Image.open(row["file"]) as stamp:
        size = [max(1, round(s * side / max(stamp.size))) for s in stamp.size]
        return without_fringe(stamp.resize(size, Image.Resampling.LANCZOS))


def without_fringe(stamp: Image.Image) -> Image.Image:
    """The stamp with a softer edge, whose colours are those of the opaque pixels beside it, so that
    nothing of what it was cut out of shines through."""
    alpha = stamp.getchannel("A")
    inner = stamp.copy()
    inner.putalpha(alpha.point(lambda a: 255 * (a >= OPAQUE)))
    inner = inner.convert("RGBa").filter(ImageFilter.BoxBlur(2)).convert("RGBA")
    edge = np.asarray(alpha) < OPAQUE
    edge &= np.asarray(inner.getchannel("A")) >= 16  # of fewer the colour is too coarse
    clean = Image.composite(inner.convert("RGB"), stamp.convert("RGB"), Image.fromarray(edge))
    clean.putalpha(alpha.filter(ImageFilter.BoxBlur(0.4)))
    return clean


def layout(stamps: list[Image.Image], floor: int, rng: np.random.Generator) -> list[Place]:
    """Where each stamp goes: of TRIES places the one with the most free pixels. The foot of each is
    on the floor, that of the first in the lower half of it."""
    free, places = np.ones((SIDE, SIDE), bool), []
    for stamp in stamps:
        own, found = opaque(stamp), []
        for x, y in rng.random((TRIES, 2)):
            y = y if places else (1 + y) / 2
            foot = max(stamp.height, round(floor + (SIDE - 2 - floor) * y))
            left, top = round(x * (SIDE - stamp.width)), foot - stamp.height
            room = free[top:foot, left : left + stamp.width]
            found.append((int(room[own].sum()), left, top))
        _, left, top = max(found, key=lambda place: place[0])
        places.append((left, top))
        free[top : top + stamp.height, left : left + stamp.width] &= ~own
    return places


def mask_at(stamp: Image.Image, place: Place) -> np.ndarray:
    (left, top), mask = place, np.zeros((SIDE, SIDE), bool)
    mask[top : top + stamp.height, left : left + stamp.width] = opaque(stamp)
    return mask


def put(image: Image.Image, stamp: Image.Image, place: Place, lean: float) -> Image.Image:
    """A stamp and its shadow on the picture; `lean` says how far the shadow falls to the right."""
    image = Image.composite(Image.new("RGB", image.size), image, shadow(stamp, place, lean))
    box = (*place, place[0] + stamp.width, place[1] + stamp.height)
    behind = ImageStat.Stat(image.crop(box).convert("L")).mean[0]
    own = ImageStat.Stat(stamp.convert("L"), stamp.getchannel("A")).mean[0]
    gain = ((behind + 16) / (own + 16)) ** ADAPT
    image.paste(ImageEnhance.Brightness(stamp.convert("RGB")).enhance(gain), place, stamp)
    return image


def shadow(stamp: Image.Image, place: Place, lean: float) -> Image.Image:
    """How dark it is below a thing, "L": its outline lying flat behind its foot, and a narrow seam
    around it that fades upwards. Both are so soft that a quarter of the pixels a side will do."""
    alpha, small = stamp.getchannel("A").reduce(4), (SIDE // 4, SIDE // 4)
    (left, top), (width, height) = (p // 4 for p in place), alpha.size
    cast, seam = Image.new("L", small), Image.new("L", small)
    flat = alpha.resize((width, max(1, height // 5)))
    cast.paste(flat, (left + round(lean * height), top + height + 1 - flat.height))
    seam.paste(alpha, (left + round(2 * lean), top + 1))
    fade = ((np.arange(small[1])[:, None] - top) / height).clip(0, 1) ** 2
    cast, seam = (np.asarray(layer.filter(ImageFilter.GaussianBlur(1))) for layer in (cast, seam))
    dark = np.maximum(0.5 * cast, 0.55 * seam * fade)
    dark = Image.fromarray(dark.round().astype(np.uint8))
    return dark.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
