"""How a family of image models is described: one row, from which its stem, blocks and tail
follow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ..checks import is_finite
from ..images import image_transform
from ..types import ImageEncoder, Parts
from .published import one_line
from .wrapping import MORE, chain, device_of, dtype_of, probe_image

CONTAINERS = nn.Sequential, nn.ModuleList


@dataclass(frozen=True)
class Layout:
    """Where a family keeps its pieces, in the order of its own forward pass.

    stem, after    names of modules and methods in front of the blocks and behind them, with spaces
                   between; in a tuple, functions (model, z) -> z may stand among them
    blocks         names; a single name of a container stands for what it holds. Or model -> blocks
    tokens         model -> (extra tokens in front, (h, w)) where latents are (B, T, width); None
                   where they are maps (B, C, h, w). A single step behind the blocks of tokens is
                   their normalisation
    channels_last  the library's own maps are (B, h, w, C); latents are (B, C, h, w) all the same
    told           (model, k) -> what block k is called with besides z, computed at every call
    unless         model -> why this member of the family has no split, "" if it has one
    """

    stem: str | tuple
    blocks: str | Callable
    after: str | tuple = ""
    tokens: Callable | None = None
    channels_last: bool = False
    told: Callable | None = None
    unless: Callable = lambda model: ""


@dataclass(frozen=True)
class Told:
    """A block that is told something besides z: rotary positions, a bias that blocks share."""

    block: nn.Module
    model: nn.Module
    told: Callable
    k: int

    def __call__(self, z: Tensor) -> Tensor:
        return self.block(z, **self.told(self.model, self.k))


def assemble(model: nn.Module, layout: Layout, finish: list) -> tuple[Parts, tuple | None]:
    """The pieces of `model`, whose tail ends in the steps `finish`, and its `tokens`.

    Raises AttributeError where the model lacks a name of its row.
    """
    stem, after = steps(model, layout.stem), steps(model, layout.after)
    if callable(layout.blocks):
        modules = tuple(layout.blocks(model))
    else:
        modules = tuple(find(model, name) for name in layout.blocks.split())
        if len(modules) == 1 and isinstance(modules[0], CONTAINERS):
            modules = tuple(modules[0])
    blocks = modules
    if layout.told:
        blocks = tuple(Told(block, model, layout.told, k) for k, block in enumerate(modules))
    last = (after[0], chain(finish)) if layout.tokens and len(after) == 1 else None
    if layout.channels_last:
        stem, after = [*stem, maps_first], [maps_last, *after]
        blocks = tuple(partial(around, block) for block in blocks)
    named = all(isinstance(module, nn.Module) for module in modules)
    parts = Parts(
        chain(stem),
        blocks,
        chain([*after, *finish]),
        modules if named and blocks is not modules else (),
        last,
    )
    return parts, layout.tokens and layout.tokens(model)


def steps(model: nn.Module, names: str | tuple) -> list:
    names = names.split() if isinstance(names, str) else names
    return [partial(n, model) if callable(n) else find(model, n) for n in names]


def find(model: nn.Module, name: str):
    return reduce(getattr, name.split("."), model)


def numbered(name: str, first: int, last: int) -> str:
    return " ".join(f"{name}{k}" for k in range(first, last + 1))


def maps_first(z: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, C, h, w)."""
    return z.permute(0, 3, 1, 2)


def maps_last(z: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h, w, C)."""
    return z.permute(0, 2, 3, 1)


def around(block: Callable, z: Tensor) -> Tensor:
    """A block of maps (B, h, w, C), run on (B, C, h, w)."""
    return maps_first(block(maps_last(z)))


def vector(h: Tensor | tuple) -> Tensor:
    """What a library gives per picture as (B, D): the first of several outputs, and without the
    axes of length 1 that are left of a pooled map or of a single token."""
    h = h[0] if isinstance(h, tuple) else h
    return h.flatten(1) if h.ndim > 2 and max(h.shape[1:]) == h[0].numel() else h


class PointwiseHead(nn.Module):
    """A classifier that is a convolution of size 1, for embeddings (B, D) -> (B, classes)."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    @property
    def weight(self) -> Tensor:
        return self.conv.weight.flatten(1)  # (classes, D)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h[:, :, None, None]).flatten(1)


class MeanOfHeads(nn.Module):
    """Classifiers whose logits are averaged, as those of distilled models."""

    def __init__(self, heads: tuple[nn.Module, ...]):
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, h: Tensor) -> Tensor:
        return sum(head(h) for head in self.heads) / len(self.heads)


def described(
    model: nn.Module, name: str, forward: Callable, parts, tokens, why: str, size, mean, std
) -> ImageEncoder:
    """A model as an encoder that is still to be tried: its forward pass in one piece, its pieces or
    `why` it has none, its (extra tokens, (h, w)), and what its pictures are like."""
    return ImageEncoder(
        name=name,
        device=device_of(model),
        dtype=dtype_of(model),
        whole=forward,
        parts=parts,
        no_split=why,
        tokens=tokens,
        image_size=size,
        transform=image_transform(size, mean, std),
        mean=mean,
        std=std,
        channels_last=tokens is None,
        weights=dict(model.named_parameters()),
    )


@torch.no_grad()
def tried(encoder: ImageEncoder, probe: Tensor, h: Tensor) -> ImageEncoder:
    """The encoder without what does not hold on `probe`, whose embedding is h: pieces that do not
    run or give something of another shape, latents that are not what `tokens` says, and `last`
    where what follows the normalisation is not linear."""
    parts = encoder.parts
    if parts is None:
        return encoder
    try:
        z = parts.stem(probe)
        for block in parts.blocks:
            z = block(z)
        other = parts.tail(z).shape != h.shape
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return whole(encoder, f"its blocks do not run one by one ({one_line(error)})")
    if other:
        return whole(encoder, MORE)
    if encoder.tokens is not None:
        extra, (rows, columns) = encoder.tokens
        if z.ndim != 3 or z.shape[1] != extra + rows * columns:
            return whole(
                encoder,
                f"its latents {tuple(z.shape[1:])} are not {extra} tokens and {rows} x {columns}"
                " cells",
            )
    elif z.ndim != 4:
        return whole(encoder, f"its latents {tuple(z.shape[1:])} are not maps (C, h, w)")
    if parts.last and not linear(parts.last[1], parts.last[0](z)):
        return replace(encoder, parts=replace(parts, last=None))
    return encoder


def whole(encoder: ImageEncoder, why: str) -> ImageEncoder:
    return replace(encoder, parts=None, tokens=None, no_split=why)


def linear(f: Callable, n: Tensor) -> bool:
    """Whether f is linear but for a constant, told by n, n turned round and their sum."""
    turned = n.roll(1, 1)
    apart = f(n) + f(turned)
    together = f(n + turned) + f(torch.zeros_like(n))
    near = max(1e-3, 16 * torch.finfo(n.dtype).eps)
    return torch.allclose(apart, together, rtol=near, atol=near * float(apart.abs().max()))


def probe_of(encoder: ImageEncoder, size: tuple[int, int], model: nn.Module) -> Tensor:
    """One picture as the encoder passes it on."""
    probe = probe_image(size, model).to(encoder.dtype)
    return probe.contiguous(memory_format=torch.channels_last) if encoder.channels_last else probe


@torch.no_grad()
def output_of(model: nn.Module, probe: Tensor, unpooled: str, refused: str = "") -> Tensor:
    """What a model gives for one picture, (1, classes) or (1, D).

    Raises ValueError for a model that gives no vector, `unpooled` saying what to do, or takes no
    such picture, then `refused` says it.
    """
    try:
        logits = vector(model(probe))
    except Exception as error:  # whatever a model says of a picture it does not take
        raise ValueError(
            f"model must take pictures (B, 3, {probe.shape[2]}, {probe.shape[3]}),"
            f" {type(model).__name__} does not ({one_line(error)}){refused and ': '}{refused}"
        ) from error
    return check_output(logits, model, unpooled)


def check_output(h, model: nn.Module, advice: str) -> Tensor:
    """The embedding (B, D) of one picture; ValueError for anything else, with advice."""
    if isinstance(h, Tensor) and h.ndim == 2:
        if not is_finite(h):
            raise ValueError(f"model {type(model).__name__} returned NaN or infinite values")
        return h
    got = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
    raise ValueError(
        f"model must give one vector (B, D) per picture, {type(model).__name__} gives {got}:"
        f" {advice}"
    )


def bare(module):
    """A module without the wrappers that only change how it runs: DataParallel,
    DistributedDataParallel, an averaged model and torch.compile."""
    while True:
        if isinstance(module, (DataParallel, DistributedDataParallel)):
            module = module.module
        elif isinstance(module, torch.optim.swa_utils.AveragedModel):
            module = module.module
        elif isinstance(module, torch._dynamo.OptimizedModule):
            module = module._orig_mod
        else:
            return module
