"""What the caller's settings must not change: inside methods and metrics numbers are float32."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def float32_numerics(device: str = "cpu") -> Iterator[None]:
    """Within the block neither autocast, nor another default dtype, nor inference mode is on; they
    come back behind it."""
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        for kind in {"cpu", device}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if before != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, before)
        yield


def in_float32(function: Callable) -> Callable:
    """A function of an encoder within `float32_numerics`, its options as Python's own numbers where
    they are numpy's."""

    @functools.wraps(function)
    def run(*arguments, **options):
        options = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
        first = arguments[0] if arguments else options.get("encoder")
        with float32_numerics(getattr(getattr(first, "device", None), "type", "cpu")):
            return function(*arguments, **options)

    return run
