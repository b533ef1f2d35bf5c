"""Masks over the input: random grids, their way to pixels, the penalties that P-IBISA and IBISA put
on them, and what fills the holes."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ..types import ImageEncoder, check_number

REFERENCES = ("zero", "black", "mean", "blur")


def grid_size(image_size: tuple[int, int], rate: int | None) -> tuple[int, int]:
    """(h, w) = (H // l, W // l) (Sec. 3.2). rate None: the paper's 32, for smaller images what
    gives 7 cells a side."""
    if rate is None:
        rate = min(32, max(1, min(image_size) // 7))
    check_number("rate", rate, 1, integer=True)
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


def area(m: Tensor) -> Tensor:
    """||m||_1 of each mask, (R, H, W) -> (R,)."""
    return m.sum((-2, -1))


def total_variation(m: Tensor) -> Tensor:
    """Eq. 7: sum of absolute differences between neighbours, (R, H, W) -> (R,)."""
    return m.diff(dim=-2).abs().sum((-2, -1)) + m.diff(dim=-1).abs().sum((-2, -1))


def reference_image(encoder: ImageEncoder, x: Tensor, reference: str) -> Tensor:
    """What stands for "nothing there", (B, 3, H, W), normalised as the inputs are."""
    if reference == "zero":
        return torch.zeros_like(x)
    if reference == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    if reference == "black":
        mean, std = (torch.tensor(v).to(x).view(1, 3, 1, 1) for v in (encoder.mean, encoder.std))
        return (-mean / std).expand_as(x)
    if reference == "blur":
        sigma, most = min(x.shape[-2:]) / 10, min(x.shape[-2:]) // 2 - 1
        side = 2 * min(round(2 * sigma), most) + 1
        return gaussian_blur(
            gaussian_blur(x, [side, 1], [sigma, sigma]), [1, side], [sigma, sigma]
        )  # rows, then columns
    raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {reference!r}")
