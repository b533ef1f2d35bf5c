"""The network that draws AHA's maps: a light decoder behind the frozen backbone of the model that it explains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import load_model
from ..models.embedded import trained
from ..types import ImageEncoder


class Explainer(nn.Module):
    """A light decoder on a frozen backbone: pictures and targets -> scores of G x G cells, higher first.

    backbone  the image encoder that it is trained for; its blocks' outputs at a third, two thirds and all of its depth
              are read, and the picture itself through three small convolutions. None of its weights are in state_dict
    grid      G; the map is as fine as that
    """

    def __init__(self, backbone: ImageEncoder, *, grid: int = 28, width: int = 48):
        super().__init__()
        self.backbone, self.grid = backbone, grid
        with torch.no_grad():
            latents = self.latents(torch.zeros(1, 3, *backbone.image_size))
        self.into = nn.ModuleList(nn.Conv2d(z.shape[1], width, 1) for z in latents)
        halve = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((3, 16), (16, 32), (32, width))]
        self.see = nn.Sequential(halve[0], nn.GELU(), halve[1], nn.GELU(), halve[2])
        self.condition = nn.Linear(backbone.dim or backbone.head.in_features, 3 * width)
        self.mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))

    @torch.no_grad()
    def latents(self, x: Tensor) -> list[Tensor]:
        """(B, C, h, w) each, every cell normalised over its channels."""
        encoder, found = self.backbone, []
        wanted = {encoder.depth // 3, 2 * encoder.depth // 3, encoder.depth}
        z = encoder.split(0).prefix(x)
        for i, block in enumerate(encoder.parts.blocks, 1):
            z = block(z)
            if i in wanted:
                cells = z if encoder.tokens is None else z[:, encoder.tokens[0] :].mT.unflatten(2, encoder.tokens[1])
                found.append(F.layer_norm(cells.movedim(1, -1), cells.shape[1:2]).movedim(-1, 1))
        return found

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """(B, 3, H, W) and (B,) classes or (B, D) embeddings -> (B, G G) scores of mean 0 and spread 1."""
        side = (self.grid, self.grid)
        direction = self.backbone.head.weight[targets] if targets.ndim == 1 else targets  # (B, D)
        direction = F.normalize(direction.to(x)) * direction.shape[1] ** 0.5
        scale, shift, query = (v[:, :, None, None] for v in self.condition(direction).chunk(3, 1))
        f = F.adaptive_avg_pool2d(self.see(x), side)
        for layer, z in zip(self.into, self.latents(x)):
            f = f + F.interpolate(layer(z.contiguous()), size=side, mode="bilinear")
        f = self.mix(F.gelu(f * (1 + scale) + shift))
        return standard((f * query).sum(1).flatten(1))


def standard(a: Tensor) -> Tensor:
    """Scores (B, N) with mean 0 and spread 1 in each row: only their order counts, and the temperature has a meaning."""
    a = a - a.mean(1, keepdim=True)
    return a / (a.square().mean(1, keepdim=True) + 1e-8).sqrt()


def load_explainer(name: str) -> Explainer:
    """The kit's own: "vit-stamps" or "efficientnet-lite0" (trained/explainers.md); a second word after a slash names a variant."""
    model, _, variant = name.partition("/")
    weights = trained(f"aha-{model}{variant and '-' + variant}")
    backbone = load_model(model, device="cpu")
    explainer = Explainer(getattr(backbone, "image", backbone), grid=28)
    explainer.load_state_dict(weights)
    return explainer.eval().requires_grad_(False)
