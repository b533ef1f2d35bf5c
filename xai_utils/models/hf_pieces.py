"""What image encoders of transformers are put together from, beside the library's own layers. All
of it can be pickled."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Whole:
    """A model's own forward pass on pictures (B, 3, H, W), up to the vector it gives for each.

    call    the model, or a method of it
    inputs  pictures -> the keyword arguments of `call`
    field   the field of the output that is read
    then    what comes behind it; None: nothing
    """

    call: Callable
    inputs: Callable
    field: str
    then: Callable | None = None

    def __call__(self, x: Tensor) -> Tensor:
        h = self.call(**self.inputs(x))[self.field]
        h = h if self.then is None else self.then(h)
        return h.flatten(1) if h.shape[2:] == (1, 1) else h  # ResNet's pooled map (B, D, 1, 1)


def pictures(x: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": x}


@dataclass(frozen=True)
class Patches:
    """SigLIP 2's inputs: a picture as the list of its patches (B, h w, side side 3), row by row."""

    side: int

    def __call__(self, x: Tensor) -> dict[str, Tensor | None]:
        h, w = (n // self.side for n in x.shape[-2:])
        grid = x.unflatten(3, (w, self.side)).unflatten(2, (h, self.side))  # (B, 3, h, s, w, s)
        patches = grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shape = torch.tensor([[h, w]], device=x.device)  # of every picture of the batch
        return {"pixel_values": patches, "pixel_attention_mask": None, "spatial_shapes": shape}


@dataclass(frozen=True)
class PatchStem:
    """SigLIP 2's stem: patches and their positions."""

    embeddings: nn.Module
    inputs: Patches

    def __call__(self, x: Tensor) -> Tensor:
        given = self.inputs(x)
        return self.embeddings(given["pixel_values"], given["spatial_shapes"])


@dataclass(frozen=True)
class Biased:
    """A block of BEiT, whose attention gets a bias for every distance between patches.

    module      the block
    shared      makes the bias that all blocks share; None: each block has its own or there is none
    resolution  (H, W) of the picture
    grid        (h, w) of its patches
    """

    module: nn.Module
    shared: nn.Module | None
    resolution: tuple[int, int]
    grid: tuple[int, int]

    def __call__(self, z: Tensor) -> Tensor:
        return self.module(z, attention_mask=self.bias, resolution=self.resolution)

    @property
    def bias(self) -> Tensor | None:
        """What is added to the scores from outside the block, (1, heads, T, T)."""
        return None if self.shared is None else self.shared(self.grid)


@dataclass(frozen=True)
class Rotated:
    """A block of DINOv3, whose queries and keys are turned by angles.

    module      the block
    angles      makes the cosine and sine for a picture, of which only size, dtype and device count
    resolution  (H, W) of the picture
    """

    module: nn.Module
    angles: nn.Module
    resolution: tuple[int, int]

    def __call__(self, z: Tensor) -> Tensor:
        return self.module(z, position_embeddings=self.rope)

    @property
    def rope(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each (h w, width of a head)."""
        return self.angles(self.module.norm1.weight.new_empty(1, 0, *self.resolution))


class TwoHeads(nn.Module):
    """The classifier of a distilled DeiT: the mean of two, each on its half of (B, 2 width)."""

    def __init__(self, one: nn.Module, two: nn.Module):
        super().__init__()
        self.one, self.two = one, two

    def forward(self, h: Tensor) -> Tensor:
        a, b = h.chunk(2, 1)
        return (self.one(a) + self.two(b)) / 2


def first(z: Tensor) -> Tensor:
    return z[:, 0]


def first_two(z: Tensor) -> Tensor:
    return z[:, :2].flatten(1)


def patches(z: Tensor, extra: int) -> Tensor:
    """The mean of the tokens (B, T, width) behind `extra` ones in front."""
    return z[:, extra:].mean(1)


def first_and_patches(z: Tensor, extra: int) -> Tensor:
    return torch.cat([first(z), patches(z, extra)], 1)


def places(z: Tensor) -> Tensor:
    """The mean over a map (B, C, h, w)."""
    return z.mean((-2, -1))
