"""What every encoder that is brought from outside goes through: a frozen copy, a first look at its
output, and the wrapper for any module or function."""

import copy
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from ..checks import check_number
from ..images import image_transform
from ..types import Encoder, ImageEncoder


def frozen(module: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters need no gradient. It shares the weights' memory;
    `module` stays as it was."""
    shared = {id(p): nn.Parameter(p.data, requires_grad=False) for p in module.parameters()}
    shared |= {id(b): b for b in module.buffers()}
    return copy.deepcopy(module, shared).eval()


@torch.no_grad()
def checked(encoder: Encoder, probe) -> Encoder:
    """Run the model whole and in pieces on `probe`; pieces that give something else are dropped, D
    is noted."""
    h = encoder.whole(probe)
    if encoder.parts is None:
        return replace(encoder, dim=h.shape[1])
    if is_same(encoder(probe), h, encoder.dtype):
        return replace(encoder, dim=h.shape[1])
    return replace(
        encoder,
        dim=h.shape[1],
        parts=None,
        no_split="its forward pass does more than its stem, blocks and head show",
    )


def is_same(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether embeddings differ by no more than the rounding of the model that they come from."""
    if dtype in (torch.float16, torch.bfloat16):  # a step of bfloat16 is 2^-8, over many layers
        return bool((a.float() - b.float()).norm() <= 0.05 * b.float().norm())
    return torch.allclose(a, b.to(a), rtol=1e-4, atol=1e-5)


def probe_image(size: tuple[int, int], model: nn.Module) -> torch.Tensor:
    return (
        torch.linspace(-1, 1, 3 * size[0] * size[1])
        .reshape(1, 3, *size)
        .to(next(model.parameters()))
    )


def chain(steps: list):
    """The steps one after another, as one function that can be pickled if they can."""
    return partial(run, tuple(steps))


def run(steps: tuple, z):
    for step in steps:
        z = step(z)
    return z


def rescaled(encoder: ImageEncoder, unit: float) -> ImageEncoder:
    """The same encoder with its embedding divided by `unit`.

    No cosine and no ranking by distance changes, but a mean squared error does: P-IBISA's
    align="mse" weighs it against the area of the mask, so that the same beta means something else
    in every unit. The head still takes the embedding that comes out. Raises ValueError for a unit
    that is not above 0.
    """
    check_number("unit", unit, 0, above=True)
    parts = encoder.parts
    if parts is not None:
        last = parts.last and (parts.last[0], chain([parts.last[1], lambda e: e / unit]))
        parts = replace(parts, tail=chain([parts.tail, lambda e: e / unit]), last=last)
    return replace(
        encoder,
        name=f"{encoder.name}, embedding / {unit:.3g}",
        whole=chain([encoder.whole, lambda e: e / unit]),
        parts=parts,
        head=encoder.head and chain([lambda e: e * unit, encoder.head]),
    )


def wrap_callable(
    f, *, name=None, image_size=None, transform=None, mean=(0, 0, 0), std=(1, 1, 1)
) -> ImageEncoder:
    """Any module or function (B, 3, H, W) -> (B, D). No split: only methods that need nothing but
    the input work."""
    is_module = isinstance(f, nn.Module)
    f = frozen(f) if is_module else f
    device = device_of(f) if is_module else torch.device("cpu")
    return ImageEncoder(
        name=name or getattr(f, "__name__", type(f).__name__),
        device=device,
        whole=f,
        image_size=image_size,
        transform=transform or image_transform(image_size or (224, 224), mean, std),
        mean=mean,
        std=std,
        weights=dict(f.named_parameters()) if is_module else {},
    )


def dtype_of(module: nn.Module) -> torch.dtype:
    """Of a module's floating weights; float32 without any."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def device_of(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
