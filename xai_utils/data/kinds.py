"""Pictures grouped by what they show, for sets that the kit does not compose itself."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..checks import check_counts, check_number
from .samples import Sample, Thing, readable


def kind_of(sample: Sample) -> str:
    """What a picture shows: its label, else the name of the thing that takes the most pixels; ""
    where a sample has neither."""
    if sample.label is not None:
        return str(sample.label)
    sizes = [np.count_nonzero(sample._mask(t)) for t in sample.things]
    return sample.things[sizes.index(max(sizes))].caption if sizes else ""


def of_kinds(dataset: Iterable[Sample], kinds: int, each: int) -> list[Sample]:
    """`each` pictures of every of `kinds` kinds (`kind_of`), kind by kind: those kinds whose
    pictures come first in the data set, which is read no further than needed.

    Raises ValueError where the data set has fewer such kinds.
    """
    check_counts(kinds=kinds, each=each)
    found, complete = defaultdict(list), []
    for sample in readable(dataset):
        kind = kind_of(sample)
        same = found[kind]
        if len(same) == each or not kind:
            continue
        same.append(sample)
        if len(same) == each:
            complete.append(same)
        if len(complete) == kinds:
            return [s for group in complete for s in group]
    raise ValueError(
        f"dataset has {len(complete)} kinds with {each} pictures, kinds is {kinds}: a kind is a"
        " label, or the name of the largest thing"
    )


def alike_and_apart(dataset: Iterable[Sample], n: int) -> list[Sample]:
    """n pairs of samples, one after the other, that share the name of a thing while each has a
    thing of a name that the other lacks. No sample is in two pairs.

    Raises ValueError where the data set has fewer such pairs.
    """
    check_counts(n=n)
    waiting, pairs = [], []
    for sample in readable(dataset):
        names = names_of(sample)
        fits = (w for w in waiting if shares(names, names_of(w)))
        if partner := next(fits, None):
            waiting = [w for w in waiting if w is not partner]
            pairs += [partner, sample]
        else:
            waiting.append(sample)
        if len(pairs) == 2 * n:
            return pairs
    raise ValueError(
        f"dataset has {len(pairs) // 2} pairs that share a thing and differ in others, n is {n}"
    )


def names_of(sample: Sample) -> set[str]:
    return {t.caption for t in sample.things}


def shares(one: set[str], other: set[str]) -> bool:
    return bool(one & other and one - other and other - one)


def seen(sample: Sample, size: tuple[int, int], *, least: float = 0.0) -> Sample:
    """The sample cut to what an encoder of `size` (H, W) sees: its picture there, and those of its
    things that take more than the share `least` of it, by their masks."""
    check_number("least", least, 0, 1)
    masks = sample.masks(size).numpy()
    parts = [Thing(t.caption, mask=m) for t, m in zip(sample.things, masks) if m.mean() > least]
    return replace(sample, image=sample.picture(size), things=tuple(parts))
