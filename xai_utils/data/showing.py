"""Pictures in which so many things are in sight."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ..checks import check_counts
from ..images import check_size
from .samples import Sample, SampleError

LEAST = 0.01  # a thing in sight covers this part of what the encoder sees


def showing(dataset: Sequence[Sample], n: int, *, things: int, size) -> list[Sample]:
    """The first n samples in which an encoder of `size` (H, W) sees so many things; fewer where the
    data set holds no more.

    things  1: pictures that show one thing and no other; else pictures of that many or more, of
            which only the largest are kept
    size    of the encoder: a thing counts if it covers a hundredth of the part that is seen
    Each sample has those things, the largest first, and their captions joined by "and" as its own.
    The data set is looked at in its own order and no further than needed; a sample that cannot be
    read is left out.
    """
    check_counts(n=n, things=things)
    size = check_size(size)
    return list(islice(shown(dataset, things, size), n))


def shown(dataset: Sequence[Sample], k: int, size: tuple[int, int]) -> Iterator[Sample]:
    for i in range(len(dataset)):
        try:
            found = in_sight(dataset[i], size)
        except SampleError:
            continue
        if len(found.things) == k or len(found.things) > k > 1:
            kept = found.things[:k]
            yield replace(found, things=kept, caption=" and ".join(t.caption for t in kept))


def in_sight(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample with the things that an encoder of `size` (H, W) sees, the largest first."""
    areas = sample.masks(size).float().mean((1, 2)).tolist()
    seen = [k for k, area in enumerate(areas) if area >= LEAST]
    things = [sample.things[k] for k in sorted(seen, key=lambda k: -areas[k])]
    return replace(sample, things=tuple(things))
