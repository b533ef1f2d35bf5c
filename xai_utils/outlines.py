"""Places in a picture by other descriptions than a box: outlines and COCO's run-length code."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from pycocotools import mask as coco

from .images import are_numbers, check_mask, check_size

Polygon = tuple[float, ...]


def check_polygons(polygons, name: str) -> tuple[Polygon, ...]:
    """Outlines x, y, x, y, ... of three points or more, in pixels. Raises ValueError for others."""
    if isinstance(polygons, (str, bytes, dict)) or not isinstance(polygons, Sequence):
        raise TypeError(f"{name} must be a list of polygons, got {type(polygons).__name__}")
    found = []
    for polygon in polygons:
        values = polygon.ravel().tolist() if isinstance(polygon, np.ndarray) else polygon
        if not isinstance(values, Sequence) or len(values) < 6 or len(values) % 2:
            raise ValueError(
                f"{name} must each be x, y, x, y, ... of three points or more, got {polygon!r:.80}"
            )
        if not are_numbers(values, len(values)):
            raise ValueError(f"{name} must hold finite numbers, got {polygon!r:.80}")
        found.append(tuple(float(v) for v in values))
    return tuple(found)


def filled(polygons: Sequence[Polygon], size: tuple[int, int]) -> np.ndarray:
    """The pixels within any of the outlines, (H, W) bool, as pycocotools counts them."""
    return decoded(coco.merge(coco.frPyObjects([list(p) for p in polygons], *size)), "polygons")


def decoded(code: dict, name: str) -> np.ndarray:
    """COCO's run-length code, compressed or a list of counts -> (H, W) bool. Raises ValueError for
    one whose runs do not fill its size."""
    if not {"size", "counts"} <= set(code):
        raise ValueError(f'{name} must have "size" and "counts", got {", ".join(map(str, code))}')
    size, counts = check_size(code["size"], f"size of {name}"), code["counts"]
    if isinstance(counts, (str, bytes)):
        counts = run_lengths(counts.encode() if isinstance(counts, str) else counts)
    elif not isinstance(counts, Sequence) or not all(isinstance(v, Integral) for v in counts):
        raise ValueError(f"counts of {name} must be whole numbers of pixels, got {counts!r:.80}")
    if min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
        raise ValueError(
            f"counts of {name} are no runs that fill {size[0]} x {size[1]} pixels: damaged?"
        )
    inside = np.arange(len(counts)) % 2 == 1  # runs go down the columns, the first is outside
    return np.repeat(inside, counts).reshape(size[::-1]).T


def run_lengths(code: bytes) -> list[int]:
    """The counts behind COCO's compressed ones: five bits a character, the sixth says that more
    follow; from the third count on the difference to the last but one. (pycocotools fills a mask
    with whatever lies in memory where a code is cut short, so it does not decode here.)"""
    counts, value, shift = [], 0, 0
    for byte in code:
        bits = byte - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts


def as_mask(mask, name: str) -> np.ndarray:
    """A mask (H, W), or COCO's run-length code of one, as bool."""
    return decoded(mask, name) if isinstance(mask, dict) else check_mask(mask, name)


def surrounding(places: Sequence[Sequence[float]]) -> tuple[int, int, int, int]:
    """The box around points x, y, x, y, ... of several places, fractions rounded outward."""
    x = np.concatenate([place[0::2] for place in places])
    y = np.concatenate([place[1::2] for place in places])
    low, high = np.floor([x.min(), y.min()]), np.ceil([x.max(), y.max()])
    return tuple(int(v) for v in (*low, *high))


def mask_box(mask: np.ndarray, name: str) -> tuple[int, int, int, int]:
    """The box around the pixels of a mask. Raises ValueError where there are none."""
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    if not len(rows):
        raise ValueError(f"{name} is empty, and there is no box")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
