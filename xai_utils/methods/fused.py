"""A second decoder for AHA's explainers, after DPT (Ranftl et al. 2021): depths of the frozen model
fused from deep to shallow while the grid grows finer."""

import torch.nn.functional as F
from torch import Tensor, nn

from .explainers import Explainer, picture_layers


class FusedExplainer(Explainer):
    """An `Explainer` whose latents meet one after another instead of in one sum.

    The deepest one is brought to a quarter of the grid, 7 x 7 cells, the middle one to half of it,
    14 x 14, the shallowest to all of it, 28 x 28, where the picture itself joins. At each of the
    three the class scales and shifts the channels, and a residual unit of two convolutions follows
    (DPT's Figure 1, right; it reads four depths and is 256 channels wide). The evidence of single
    cells joins the deepest one.

    backbone, grid  as in `Explainer`; before training the two draw the same map
    """

    def build(self, channels: list[int], dim: int, width: int) -> None:
        self.into = nn.ModuleList(nn.Conv2d(c, width, 1) for c in reversed(channels))
        self.see, self.hint = picture_layers(width), nn.Conv2d(1, width, 1)
        self.told, self.query = nn.Linear(dim, width), nn.Linear(dim, width)
        self.scale_shift = nn.ModuleList(nn.Linear(width, 2 * width) for _ in channels)
        self.units = nn.ModuleList(residual_unit(width) for _ in channels)

    def learned(
        self, x: Tensor, latents: list[Tensor], evidence: Tensor, direction: Tensor
    ) -> Tensor:
        """Features (B, width, G, G). evidence (B, 1, h, w), direction (B, D), of length 1."""
        told, f = F.gelu(self.told(direction)), None  # (B, width)
        for i, z in enumerate(reversed(latents)):
            side = (-(-self.grid // 2 ** (len(latents) - 1 - i)),) * 2  # rounded up
            skip = self.into[i](resized(z.movedim(-1, 1), side))  # (B, width, *side)
            f = skip + (self.hint(resized(evidence, side)) if f is None else resized(f, side))
            if i == len(latents) - 1:
                f = f + F.adaptive_avg_pool2d(self.see(x), side)
            scale, shift = self.scale_shift[i](told)[:, :, None, None].chunk(2, 1)
            f = f * (1 + scale) + shift
            f = f + self.units[i](f)
        return f


def residual_unit(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
    )


def resized(z: Tensor, side: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *side), bilinear, each of its own cells counted where they shrink."""
    return F.interpolate(z, size=side, mode="bilinear", antialias=True)
