"""The network that draws AHA's maps: a light decoder behind the frozen backbone of the model that
it explains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import load_model
from ..models.embedded import TRAINED, trained
from ..models.readout import read_tokens
from ..types import ImageEncoder


class Explainer(nn.Module):
    """A light decoder on a frozen backbone: pictures and targets -> scores of G x G cells, higher
    first.

    It starts from the evidence of single cells, what the model's last layers would say of each cell
    alone (for a CNN with mean pooling that is CAM), and learns what to add from the blocks' outputs
    at a third, two thirds and all of the depth and from the picture itself. These meet from deep to
    shallow while the grid grows finer, as in DPT (Ranftl et al. 2021, Figure 1, right; it reads
    four depths and is 256 channels wide): the deepest on a quarter of the grid, 7 x 7 cells, the
    middle one on half of it, 14 x 14, the shallowest on all of it, 28 x 28, where the picture
    joins. At each of the three the class scales and shifts the channels, and a residual unit of two
    convolutions follows. The evidence of single cells joins the deepest one.

    backbone  the image encoder that it is trained for; none of its weights are in state_dict
    grid      G; the map is as fine as that
    """

    def __init__(self, backbone: ImageEncoder, *, grid: int = 28, width: int = 48):
        super().__init__()
        self.backbone, self.grid = backbone, grid
        x = torch.zeros(1, 3, *backbone.image_size, device=backbone.device)
        latents, cells, _ = self.read(x)
        self.build([z.shape[-1] for z in latents], cells.shape[1], width)
        for p in self.query.parameters():
            nn.init.zeros_(p)  # so that the evidence alone speaks before training
        self.to(backbone.device, memory_format=torch.channels_last)

    def build(self, channels: list[int], dim: int, width: int) -> None:
        """The layers that `learned` needs, for latents of so many channels and D = dim."""
        self.into = nn.ModuleList(nn.Conv2d(c, width, 1) for c in reversed(channels))
        self.see, self.hint = picture_layers(width), nn.Conv2d(1, width, 1)
        self.told, self.query = nn.Linear(dim, width), nn.Linear(dim, width)
        self.scale_shift = nn.ModuleList(nn.Linear(width, 2 * width) for _ in channels)
        self.units = nn.ModuleList(residual_unit(width) for _ in channels)

    @torch.no_grad()
    def read(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Latents (B, h, w, C), every cell normalised over its channels; the last cells' own
        embeddings (B, D, h, w); and z, what the last block gives, as it is."""
        encoder, found = self.backbone, []
        wanted = {encoder.depth // 3, 2 * encoder.depth // 3, encoder.depth}
        z = encoder.split(0).prefix(x).to(encoder.dtype)
        for i, block in enumerate(encoder.parts.blocks, 1):
            z = block(z)
            if i in wanted:
                cells = (
                    z.movedim(1, -1)
                    if encoder.tokens is None
                    else z[:, encoder.tokens[0] :].unflatten(1, encoder.tokens[1])
                )
                found.append(F.layer_norm(cells.float(), cells.shape[-1:]))
        last = z if encoder.tokens is None else z[:, encoder.tokens[0] :]
        h = read_tokens(encoder, last)  # (B, h w, D)
        return found, h.unflatten(1, cells.shape[1:3]).movedim(-1, 1), z

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """(B, 3, H, W) and (B,) classes or (B, D) embeddings -> (B, G G) scores of mean 0 and
        spread 1."""
        return self.draw(x, targets, *self.read(x)[:2])

    def draw(self, x: Tensor, targets: Tensor, latents: list[Tensor], cells: Tensor) -> Tensor:
        """`forward` on what `read` has found."""
        direction = self.backbone.head.weight[targets] if targets.ndim == 1 else targets  # (B, D)
        evidence = standard(
            torch.einsum("bdhw,bd->bhw", cells, direction.to(cells)).flatten(1)
        ).view(len(x), 1, *cells.shape[2:])
        side, direction = (self.grid, self.grid), F.normalize(direction.to(x))
        f = self.learned(x, latents, evidence, direction) * self.query(direction)[:, :, None, None]
        evidence = F.interpolate(evidence, size=side, mode="bilinear")
        return standard((f.sum(1) + evidence[:, 0]).flatten(1))

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


def picture_layers(width: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, width, H / 8, W / 8)."""
    halve = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((3, 16), (16, 32), (32, width))]
    return nn.Sequential(halve[0], nn.GELU(), halve[1], nn.GELU(), halve[2])


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


def check_trainable(encoder, pictures, batch) -> None:
    if not isinstance(encoder, ImageEncoder) or encoder.head is None or encoder.parts is None:
        name = getattr(encoder, "name", encoder)
        raise ValueError(
            f"encoder must be an image encoder with blocks and a classifier head, got {name}"
        )
    size = encoder.image_size
    if (
        not isinstance(pictures, Tensor)
        or pictures.dtype != torch.uint8
        or pictures.shape[1:] != (3, *size)
    ):
        raise ValueError(f"pictures must be uint8 of shape (n, 3, {size[0]}, {size[1]})")
    if len(pictures) < batch:
        raise ValueError(f"pictures must be at least a batch of {batch}, got {len(pictures)}")


def standard(a: Tensor) -> Tensor:
    """Scores (B, N) with mean 0 and spread 1 in each row: only their order counts, and the
    temperature has a meaning."""
    a = a - a.mean(1, keepdim=True)
    return a / (a.square().mean(1, keepdim=True) + 1e-8).sqrt()


def load_explainer(name: str, *, device=None) -> Explainer:
    """One of the kit's own (trained/explainers.md): "vit-photos", "efficientnet-lite0", or a
    variant such as "vit-photos/s4".

    device  None: the GPU if there is one, else the CPU. Raises ValueError for a name that is not
            known.
    """
    known = sorted(f.stem.removeprefix("aha-") for f in TRAINED.glob("aha-*.safetensors"))
    if str(name).replace("/", "-") not in known:
        raise ValueError(
            f"no explainer named {name!r}: one of {', '.join(known)}; train_explainer makes others"
        )
    backbone = load_model(name.partition("/")[0], device=device)
    explainer = Explainer(getattr(backbone, "image", backbone))
    explainer.load_state_dict(trained(f"aha-{name.replace('/', '-')}"))
    return explainer.eval().requires_grad_(False)
