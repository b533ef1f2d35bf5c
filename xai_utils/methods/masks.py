"""Masks over the input: random grids, their way to pixels, the penalties that P-IBISA and IBISA put
on them."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import check_counts


def grid_size(image_size: tuple[int, int], rate: int | None) -> tuple[int, int]:
    """(h, w) = (H // l, W // l) (Sec. 3.2). rate None: the paper's 32, for smaller images what
    gives 7 cells a side."""
    if rate is None:
        rate = min(32, max(1, min(image_size) // 7))
    check_counts(rate=rate)
    h, w = image_size[0] // rate, image_size[1] // rate
    if h < 2 or w < 2:
        raise ValueError(
            f"rate={rate} leaves a {h} x {w} grid on an image of {image_size}: a smaller rate is"
            " needed"
        )
    return h, w


def sample_grids(masks: int, grid: tuple[int, int], alpha: float, seed: int) -> Tensor:
    """Eq. 3: g ~ U(-alpha, alpha), (masks, h, w), from a CPU generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(masks, *grid, generator=generator) - 1) * alpha


def upsample(g: Tensor, size: tuple[int, int]) -> Tensor:
    """Eq. 4: m = sigmoid(bicubic(g)), (R, h, w) -> (R, H, W) in (0, 1).

    Bicubic interpolation (corners not aligned, as torch's) acts on rows and columns apart, so it is
    two small matrix products: the same numbers as `F.interpolate`, several times faster forwards
    and backwards.
    """
    rows = bicubic(g.shape[-2], size[0]).to(g)  # (H, h)
    columns = bicubic(g.shape[-1], size[1]).to(g)  # (W, w)
    return torch.sigmoid(rows @ g @ columns.T)


@cache
def bicubic(n: int, length: int) -> Tensor:
    """(length, n): what each of `length` pixels takes from n cells."""
    return F.interpolate(torch.eye(n)[None, None], size=(n, length), mode="bicubic")[
        0, 0
    ].T.contiguous()


def mean_mask(g: Tensor, size: tuple[int, int]) -> Tensor:
    """Eq. 2: s = (1/N) sum m_n, (B, N, h, w) -> (B, H, W)."""
    return torch.stack([upsample(one, size).mean(0) for one in g]).float().cpu()


def area(m: Tensor) -> Tensor:
    """||m||_1 of each mask, (R, H, W) -> (R,)."""
    return m.sum((-2, -1))


def total_variation(m: Tensor) -> Tensor:
    """Eq. 7: sum of absolute differences between neighbours, (R, H, W) -> (R,)."""
    return m.diff(dim=-2).abs().sum((-2, -1)) + m.diff(dim=-1).abs().sum((-2, -1))
