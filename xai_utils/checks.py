"""Checks that ask for no kind of encoder: each raises one error that names the argument, what came
and what was wanted."""

import math
import numbers
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def check_images(images: Tensor, name: str, size: tuple[int, int] | None) -> None:
    """Images (B, 3, H, W) for the encoder `name`, which takes `size` (H, W); None: any size."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a (B, 3, H, W) tensor, got {type(images).__name__}: use"
            " encoder.transform(pil)[None]"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"images must have shape (B, 3, H, W), got {tuple(images.shape)}")
    if size is not None and tuple(images.shape[-2:]) != size:
        raise ValueError(f"{name} takes images of {size}, got {tuple(images.shape[-2:])}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point, got {images.dtype}: use encoder.transform(pil)[None]"
        )


def check_texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    """The texts as a list, which a generator could be walked through only once."""
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        raise TypeError(f"{name} must be a list of strings, got {texts!r}")
    texts = list(texts)
    if not texts:
        raise ValueError(f"{name} is an empty list")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] must be a string, got {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"{name}[{i}] is empty")
    return texts


def is_finite(value: Tensor) -> bool:
    """Asked of the smallest and largest value, nine times faster than of every one."""
    return not value.numel() or bool(torch.stack(value.detach().aminmax()).isfinite().all())


def check_finite(name: str, value: Tensor) -> None:
    if not is_finite(value):
        raise ValueError(f"{name} holds NaN or infinite values")


def check_number(
    name: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    integer: bool = False,
    above: bool = False,
) -> None:
    """A finite number, Python's or numpy's, from `low` (above: more than that) to `high`."""
    kind = numbers.Integral if integer else numbers.Real
    good = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
    good = good and (integer or math.isfinite(value))
    if good and value <= high and (value > low if above else value >= low):
        return
    raise ValueError(f"{name} must be {wanted_number(low, high, integer, above)}, got {value!r}")


def wanted_number(low: float, high: float, integer: bool, above: bool) -> str:
    kind = "an integer" if integer else "a number"
    if high < math.inf:
        return (
            f"{kind} {'above' if above else 'from'} {low} {'and up to' if above else 'to'} {high}"
        )
    return f"{kind} {'above' if above else 'of at least'} {low}"


def check_counts(**values: int) -> None:
    """Integers of at least 1, by their names."""
    for name, value in values.items():
        check_number(name, value, 1, integer=True)


def check_positive(**values: float) -> None:
    """Numbers above 0, by their names."""
    for name, value in values.items():
        check_number(name, value, 0, above=True)


def check_not_negative(**values: float) -> None:
    """Numbers of at least 0, by their names."""
    for name, value in values.items():
        check_number(name, value, 0)


def given(**values) -> dict:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def check_seed(seed: int) -> None:
    check_number("seed", seed, 0, 2**32 - 1, integer=True)


def check_flag(name: str, value: bool) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be {either(choices)}, got {value!r}")


def either(choices: Collection[str]) -> str:
    """'"a" or "b"', '"a", "b" or "c"', 'one of a, b, c, d'."""
    if len(choices) > 3:
        return f"one of {', '.join(choices)}"
    *others, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(others)} or {last}" if others else last


def check_embedding(h: Tensor, name: str, rows: int, given: Tensor | None) -> None:
    """What a model returned for `rows` inputs: one floating tensor (rows, D), finite where the
    tensor that it was `given` is small enough to be squared.

    Whether it is finite is asked on a CPU only, where the answer does not wait for the device;
    elsewhere what is computed from it is checked at the end.
    """
    if not isinstance(h, Tensor):
        raise TypeError(
            f"{name} must return one (B, D) tensor, got {type(h).__name__}{fields_of(h)}"
        )
    if h.ndim != 2 or h.shape[0] != rows or not h.shape[1]:
        raise ValueError(
            f"{name} must return one embedding (D,) for each input, so ({rows}, D) for {rows}, got"
            f" {tuple(h.shape)}"
        )
    if not h.is_floating_point():
        raise TypeError(f"{name} must return floating point embeddings, got {h.dtype}")
    if h.device.type == "cpu" and not is_finite(h) and (given is None or is_finite(given.square())):
        raise ValueError(f"{name} returned NaN or infinite values for inputs that are finite")


def fields_of(output) -> str:
    """Which fields of a model's output hold tensors, for those who have to choose one."""
    if isinstance(output, Mapping):
        named = {f"[{key!r}]": value for key, value in output.items()}
    elif isinstance(output, Sequence) and not isinstance(output, (str, bytes)):
        named = {f"[{i}]": value for i, value in enumerate(output)}
    else:
        named = {f".{key}": value for key, value in getattr(output, "__dict__", {}).items()}
    shapes = [f"{k} {tuple(v.shape)}" for k, v in named.items() if isinstance(v, Tensor)]
    if not shapes:
        return ""
    return f" with {', '.join(shapes[:6])}: wrap a function that returns the one you mean"


def check_percentile(value: float) -> None:
    check_number("percentile", value, 0, 100)
    if value == 100:
        raise ValueError("percentile must lie below 100: nothing lies above all of a map")


def check_function(name: str, value) -> None:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} must be a function, got {value!r}")


def check_folder(name: str, value) -> None:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a folder, got {value!r}")


def check_pixels(inputs: Tensor) -> tuple[int, int, int]:
    """The shape (B, H, W) of what has one value for every pixel of inputs (B, C, H, W)."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        got = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise TypeError(f"inputs must be images, a (B, 3, H, W) tensor, got {got}")
    return len(inputs), *inputs.shape[-2:]


def check_map(map: Tensor, inputs: Tensor) -> Tensor:
    if not isinstance(map, Tensor):
        raise TypeError(
            f"map must be a (B, H, W) tensor, got {type(map).__name__}: use attribution.map"
        )
    wanted = check_pixels(inputs)
    if tuple(map.shape) != wanted:
        raise ValueError(
            f"map must have shape {wanted}, one value per input pixel, got {tuple(map.shape)}"
        )
    if not torch.isfinite(map).all():
        raise ValueError("map holds NaN or infinite values")
    return map.float()


def check_text_map(map: Tensor, lengths: list[int]) -> list[Tensor]:
    """A text map (B, T), NaN behind the end of each text, as B vectors of that many scores."""
    if not isinstance(map, Tensor):
        raise TypeError(
            f"map must be a (B, T) tensor, got {type(map).__name__}: use attribution.map"
        )
    if tuple(map.shape) != (len(lengths), max(lengths)):
        raise ValueError(
            f"map must have shape {(len(lengths), max(lengths))}, one score per token, got"
            f" {tuple(map.shape)}"
        )
    rows = [row[:n].float().cpu() for row, n in zip(map, lengths)]
    if not all(torch.isfinite(row).all() for row in rows):
        raise ValueError("map holds NaN or infinite values on tokens of its text")
    return rows
