"""What all metrics share: what they say of themselves, and one pass for several of them."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from ..numerics import in_float32

LEVELS, SIDES = ("map", "set"), ("image", "text")
NEEDS = ("masks", "others", "places", "whole")  # of single maps
SET_NEEDS = (  # of all cases together
    *NEEDS,
    *("model", "images", "texts", "image_map", "text_map"),  # ROAR+
    *("embeddings", "captions", "right"),  # ranks of captions
    *("losses", "matched"),  # matched pairs against mismatched ones
)
SHARED: ContextVar[dict | None] = ContextVar("SHARED", default=None)


def metric(
    slug: str,
    *,
    higher_is_better: bool,
    level: str = "map",
    needs: tuple[str, ...] = (),
    sides: tuple[str, ...] = ("image",),
):
    """Say what a metric is.

    slug              its name in reference.csv
    higher_is_better  its direction
    level             "map": every map is judged alone; "set": all cases together, because the value
                      of one depends on the others
    needs             keywords that `score` and `evaluate` fill in: "masks" and "others" (B, H, W)
                      bool, where the named thing and the other things are; "places" (B, k, H, W)
                      bool, where each of the sample's things is; "whole" (B, D), the untouched
                      inputs' embeddings, known already. Those of a set: `SET_NEEDS`
    sides             what it judges: maps of an "image", of a "text"
    """
    if level not in LEVELS or not set(sides) <= set(SIDES) or not set(needs) <= set(SET_NEEDS):
        raise ValueError(f"{slug}: level {level!r}, needs {needs!r} or sides {sides!r} is unknown")

    def mark(function: Callable) -> Callable:
        function.slug, function.higher_is_better = slug, higher_is_better
        function.level, function.needs, function.sides = level, needs, sides
        return in_float32(function)

    return mark


@contextmanager
def sharing() -> Iterator[None]:
    """Within the block, what a `shared` function has computed is not computed again."""
    token = SHARED.set({})
    try:
        yield
    finally:
        SHARED.reset(token)


def shared(function: Callable) -> Callable:
    """A step that several metrics begin with: within `sharing`, one result for the very same
    arguments (the same objects, equal options)."""

    @functools.wraps(function)
    def once(encoder, inputs, targets, map, *options, **named):
        memory = SHARED.get()
        if memory is None:
            return function(encoder, inputs, targets, map, *options, **named)
        same = tuple(id(v) for v in (encoder, inputs, targets, map))
        more = tuple(id(v) if isinstance(v, Tensor) else v for v in (*options, *named.values()))
        key = (function, *same, *named, *more)
        if key not in memory:  # the arguments are kept too, so that their ids stay theirs
            arguments = (encoder, inputs, targets, map, options, named)
            memory[key] = function(encoder, inputs, targets, map, *options, **named), arguments
        return memory[key][0]

    return once
