"""Maps that know nothing: every table shows them, so that a number has something to be compared with."""

import torch
from torch import Tensor

from ..types import Attribution, Encoder
from .masks import upsample


def random_map(encoder: Encoder, inputs: Tensor, targets: Tensor, *, cells: int = 7, seed: int = 0) -> Attribution:
    """A smooth random map in (0, 1): one N(0, 9) grid of `cells` a side for each sample, through P-IBISA's upsampling.

    Sample i of a batch gets the i-th grid, so a batch holds different maps. Shapes as in `p_ibisa`; costs no passes.
    """
    g = 3 * torch.randn(len(inputs), cells, cells, generator=torch.Generator().manual_seed(seed))
    return Attribution(map=upsample(g, tuple(inputs.shape[-2:])), unit="none", signed=False, cost=dict(forwards=0, backwards=0))


def ones_map(encoder: Encoder, inputs: Tensor, targets: Tensor) -> Attribution:
    """1 everywhere: the whole image is kept. Shapes as in `p_ibisa`; costs no passes."""
    map = torch.ones(len(inputs), *inputs.shape[-2:])
    return Attribution(map=map, unit="none", signed=False, cost=dict(forwards=0, backwards=0))
