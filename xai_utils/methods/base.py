"""What all methods share: numbers in float32, and a look at what comes back."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ..numerics import in_float32
from ..types import Attribution, Encoder


def method(function: Callable) -> Callable:
    """An attribution method, whose map does not depend on autocast, the default dtype or inference
    mode, and is finite: raises ValueError where it is not, with the first step where that
    happened."""
    inside = in_float32(function)

    @functools.wraps(function)
    def run(encoder: Encoder, inputs, targets: Tensor, **options) -> Attribution:
        a = inside(encoder, inputs, targets, **options)
        check_finite_map(function.__name__, a)
        return a

    return run


def gradient_of(
    encoder: Encoder, inputs, loss: Tensor, price: Tensor, leaves: list[Tensor], *, look: bool
) -> tuple[Tensor, ...]:
    """d loss / d leaves, where the loss is a price of the masks and what the encoder says of them.

    look  raise ValueError where the price alone has made the gradient; one more backward pass
          from the price, and none through the encoder
    """
    alone = torch.autograd.grad(price.sum(), leaves[:1], retain_graph=True)[0] if look else None
    grads = torch.autograd.grad(loss.sum(), leaves)
    if look:
        check_slope(encoder, inputs, grads[0] - alone)
    return grads


def check_slope(encoder: Encoder, inputs, slope: Tensor) -> None:
    """What the match adds to the gradient at the first step: without any, the penalties alone would
    make the map, the same for every input and target."""
    blank = isinstance(inputs, Tensor) and not inputs.any()  # where masks change nothing
    if not slope.any() and not blank:
        raise ValueError(
            f"{encoder.name} gives a gradient of 0 everywhere: it rounds or detaches what it sees,"
            " or nothing in these inputs changes its embedding. rise, sbsm and kernel_shap need no"
            " gradient"
        )


def check_finite_map(name: str, a: Attribution) -> None:
    """A map is finite wherever it has a place, which for texts is up to each one's own end."""
    rows = zip(a.map, a.tokens) if a.tokens is not None else ((m, None) for m in a.map)
    if all(m[: None if words is None else len(words)].isfinite().all() for m, words in rows):
        return
    first = {key: first_step(values) for key, values in a.trace.items()}
    first = {key: step for key, step in first.items() if step is not None}
    where = "its values are too large for float32, or the model's"
    if first:
        key = min(first, key=first.get)
        where = f"{key} is the first to be NaN or infinite, at step {first[key] + 1}"
        where += f" of {len(a.trace[key])}"
    raise ValueError(f"{name} gives a map that is not finite: {where}")


def first_step(values: Tensor) -> int | None:
    bad = ~values.flatten(1).isfinite().all(1)
    return int(bad.int().argmax()) if bad.any() else None
