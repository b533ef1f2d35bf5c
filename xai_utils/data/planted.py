"""Pictures with something planted in them whose place is known: what a shortcut looks like."""

from dataclasses import replace

import numpy as np
from PIL import Image

from ..checks import check_counts
from .samples import Sample, Thing

MARGIN = 4  # pixels between a planted item and the border


def plant(sample: Sample, item: Sample, *, side: int = 64) -> Sample:
    """The sample with a small item in that corner of its picture where it hides least.

    item  a sample whose first thing is cut out by its exact mask, such as a stamp
    side  the item's longer side in pixels of the sample's picture
    The item is the first thing of what comes back, with its exact mask; the sample's own things
    follow, without the pixels that it hides. `source` names the sample's picture. Raises ValueError
    for an item without an exact mask or too large for the picture.
    """
    for name, given in (("sample", sample), ("item", item)):
        if not isinstance(given, Sample):
            raise TypeError(f"{name} must be a Sample, got {type(given).__name__}")
    if not item.things or item.things[0].mask is None:
        raise ValueError(f"item must have a thing with an exact mask, {item.id} has none")
    thing, (width, height) = item.things[0], sample.image.size
    check_counts(side=side)
    if side > min(width, height) - 2 * MARGIN:
        raise ValueError(
            f"side must lie in 1..{min(width, height) - 2 * MARGIN} for a picture of"
            f" {width} x {height} pixels, got {side!r}"
        )
    cut = item.image.crop(thing.box)
    shape = Image.fromarray(np.uint8(255 * thing.mask)).crop(thing.box)
    w, h = (max(1, round(side * v / max(cut.size))) for v in cut.size)
    cut, shape = cut.resize((w, h)), shape.resize((w, h))
    taken = sum(np.array(sample._mask(t), bool) for t in sample.things) + np.zeros((height, width))
    ends = width - MARGIN - w, height - MARGIN - h
    corners = [(left, top) for left in (MARGIN, ends[0]) for top in (MARGIN, ends[1])]
    left, top = min(corners, key=lambda c: taken[c[1] : c[1] + h, c[0] : c[0] + w].sum())
    image, place = sample.image.copy(), Image.new("L", sample.image.size)
    image.paste(cut, (left, top), shape)
    place.paste(shape, (left, top))
    mask = np.array(place) > 127
    planted = Thing(thing.caption, (left, top, left + w, top + h), mask)
    rest = [replace(t, mask=np.array(sample._mask(t), bool) & ~mask) for t in sample.things]
    return replace(
        sample,
        id=f"{sample.id}+{item.id}",
        image=image,
        things=(planted, *rest),
        source=sample.source or sample.id,
    )
