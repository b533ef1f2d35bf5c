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
        found.append(tuple(map(float, values)))
    return tuple(found)


def filled(polygons: Sequence[Polygon], size: tuple[int, int]) -> np.ndarray:
    """The pixels within any of the outlines, (H, W) bool, as pycocotools counts them."""
    return union(codes(polygons, size, "polygons"))


def union(codes: list[dict]) -> np.ndarray:
    """The pixels of any of pycocotools' run-length codes of one size, (H, W) bool."""
    return pixels(coco.merge(codes))


def pixels(code: dict) -> np.ndarray:
    """pycocotools' run-length code -> (H, W) bool, twice as fast as its `decode`."""
    counts = run_lengths(code["counts"])
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(code["size"][::-1]).T


def codes(place: dict | Sequence, size: tuple[int, int], name: str) -> list[dict]:
    """A place as COCO has it, polygons or a run-length code, in a picture of `size` (H, W), as
    pycocotools' run-length codes. Raises ValueError for one that is none, is of another size or
    reaches further beyond the picture than it is large, for pycocotools then runs out of memory."""
    if isinstance(place, dict):
        code = run_lengths_of(place, name)
        if tuple(code["size"]) != size:
            raise ValueError(f"size of {name} must be {size}, the picture's, got {code['size']}")
        return [code]
    polygons = check_polygons(place, name)
    for polygon in polygons:
        for values, side in ((polygon[1::2], size[0]), (polygon[0::2], size[1])):
            if min(values) < -side or max(values) > 2 * side:
                raise ValueError(f"{name} lies far outside the picture: {polygon!r:.80}")
    if not polygons:
        raise ValueError(f"{name} is empty")
    return coco.frPyObjects([list(p) for p in polygons], *size)


def decoded(code: dict, name: str) -> np.ndarray:
    """COCO's run-length code -> (H, W) bool. Raises ValueError as `run_lengths_of`."""
    return pixels(run_lengths_of(code, name))


def run_lengths_of(code: dict, name: str) -> dict:
    """COCO's run-length code, compressed or a list of counts, as pycocotools' own. Raises
    ValueError for one whose runs do not fill its size."""
    if not {"size", "counts"} <= set(code):
        raise ValueError(f'{name} must have "size" and "counts", got {", ".join(map(str, code))}')
    size, counts = check_size(code["size"], f"size of {name}"), code["counts"]
    if isinstance(counts, (str, bytes)):
        counts = run_lengths(counts.encode() if isinstance(counts, str) else counts).tolist()
    elif not isinstance(counts, Sequence) or not all(isinstance(v, Integral) for v in counts):
        raise ValueError(f"counts of {name} must be whole numbers of pixels, got {counts!r:.80}")
    counts = [*map(int, counts)]
    if min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
        raise ValueError(
            f"counts of {name} are no runs that fill {size[0]} x {size[1]} pixels: damaged?"
        )
    return coco.frPyObjects(dict(size=list(size), counts=counts), *size)


def run_lengths(code: bytes) -> np.ndarray:
    """The counts behind COCO's compressed ones: five bits a character, the sixth says that more
    follow; from the fourth count on the difference to the last but one. pycocotools fills a mask
    with whatever lies in memory where a cut code ends, so their sum is checked before."""
    bits = np.frombuffer(code, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(~bits & 32) + 1
    starts = np.append(0, ends)[:-1]
    if not len(ends) or (ends - starts).max() > 8:  # 40 bits count more pixels than there are
        return np.array([-1])
    place = 5 * (np.arange(ends[-1]) - np.repeat(starts, ends - starts))
    counts = np.add.reduceat((bits[: ends[-1]] & 31) << place, starts)
    counts -= np.where(bits[ends - 1] & 16, 1 << 5 * (ends - starts), 0)  # the sign
    for same in (counts[1::2], counts[2::2]):
        np.cumsum(same, out=same)
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
