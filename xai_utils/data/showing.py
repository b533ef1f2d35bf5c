"""Pictures in which so many things are in sight."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from ..checks import check_counts
from ..images import check_size
from .samples import Sample, readable

LEAST = 0.01  # a thing in sight covers this part of what the encoder sees


def showing(dataset: Iterable[Sample], n: int, *, things: int, size) -> list[Sample]:
    """The first n samples in which an encoder of `size` (H, W) sees so many things; fewer where the
    data set holds no more.

    things  1: pictures that show one thing and no other; else pictures of that many or more, of
            which only the `largest` are kept
    size    of the encoder: a thing counts if it covers a hundredth of the part that is seen
    Each sample has those things, and their captions joined by "and" as its own. The data set is
    looked at in its own order and no further than needed; a sample of a `Dataset` that cannot be
    read is passed over, with a warning.
    """
    check_counts(n=n, things=things)
    return list(islice(shown(dataset, things, check_size(size)), n))


def shown(dataset: Iterable[Sample], k: int, size: tuple[int, int]) -> Iterator[Sample]:
    for sample in readable(dataset):
        found = in_sight(sample, size)
        if len(found.things) == k or len(found.things) > k > 1:
            kept = largest(found, k)
            yield replace(kept, caption=" and ".join(t.caption for t in kept.things))


def in_sight(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample with the things that an encoder of `size` (H, W) sees."""
    areas = sample.masks(size).float().mean((1, 2)).tolist()
    things = [thing for thing, area in zip(sample.things, areas) if area >= LEAST]
    return replace(sample, things=tuple(things))


def largest(sample: Sample, k: int) -> Sample:
    """The sample with the k of its things that cover most of the picture's central square, in their
    own order; the sample itself where it has no more. Raises ValueError for a k below 1."""
    check_counts(k=k)
    if len(sample.things) <= k:
        return sample
    side = min(sample.image.size)
    areas = sample.masks((side, side)).flatten(1).sum(1)
    kept = sorted((-areas).argsort(stable=True)[:k].tolist())
    return replace(sample, things=tuple(sample.things[i] for i in kept))
