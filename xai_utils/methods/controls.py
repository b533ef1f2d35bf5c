"""Maps that know nothing: every table shows them, so that a number has something to be compared
with."""

import zlib

import torch
from torch import Tensor

from ..arguments import check_call
from ..checks import check_counts, check_seed
from ..types import Attribution, Encoder, ImageEncoder, TextEncoder
from .base import method
from .masks import upsample


@method
def random_map(
    encoder: Encoder, inputs, targets: Tensor, *, cells: int = 7, seed: int = 0
) -> Attribution:
    """A smooth random map in (0, 1): one N(0, 9) grid of `cells` a side for each sample, through
    P-IBISA's upsampling.

    The grid follows from `seed` and the image's own pixels, so that every image has another one,
    the same alone and in a batch. Shapes as in `p_ibisa`; costs no passes. For texts (B strings)
    the map is (B, T), one N(0, 1) score per token.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_counts(cells=cells)
    check_seed(seed)
    if isinstance(encoder, TextEncoder):
        tokens = encoder.tokenize(inputs)[2]
        map = torch.full((len(tokens), max(len(words) for words in tokens)), float("nan"))
        for row, text, words in zip(map, inputs, tokens):
            row[: len(words)] = torch.randn(
                len(words), generator=own_generator(text.encode(), seed)
            )
        return Attribution(
            map=map, unit="none", signed=True, cost=dict(forwards=0, backwards=0), tokens=tokens
        )
    generators = [
        own_generator(x.detach().cpu().contiguous().numpy().tobytes(), seed) for x in inputs
    ]
    g = 3 * torch.stack(
        [torch.randn(cells, cells, generator=generator) for generator in generators]
    )
    return Attribution(
        map=upsample(g, tuple(inputs.shape[-2:])),
        unit="none",
        signed=False,
        cost=dict(forwards=0, backwards=0),
    )


def own_generator(content: bytes, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(content, seed))


@method
def ones_map(encoder: ImageEncoder, inputs: Tensor, targets: Tensor) -> Attribution:
    """1 everywhere: the whole image is kept. Shapes as in `p_ibisa`; costs no passes."""
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    map = torch.ones(len(inputs), *inputs.shape[-2:])
    return Attribution(map=map, unit="none", signed=False, cost=dict(forwards=0, backwards=0))


@method
def centred_gaussian(encoder: ImageEncoder, inputs: Tensor, targets: Tensor) -> Attribution:
    """A blob in the middle, exp(-r^2 / 2 s^2) with s a quarter of each side: what a guess without
    looking scores, since objects tend to be in the middle. Shapes as in `p_ibisa`; costs no
    passes."""
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    rows, columns = (
        torch.exp(-8 * torch.linspace(-0.5, 0.5, size) ** 2) for size in inputs.shape[-2:]
    )
    map = (rows[:, None] * columns).expand(len(inputs), -1, -1).clone()
    return Attribution(map=map, unit="none", signed=False, cost=dict(forwards=0, backwards=0))
