"""NIB: the noise-free limit of the bottleneck, which is a path integral from the empty to the full
hidden state."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_number
from ..types import Attribution, Encoder, Latent


@torch.enable_grad()
def nib(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    steps: int = 10,
    chunk: int = 64,
) -> Attribution:
    """Scores that share out how much the match changes while one layer's features grow from 0 (NIB,
    Sec. 3, Eq. 10).

        S(t) = cos(suffix(t z), target)
        A = (1/n) sum_k z dS/dz at t = k/n,  k = 1..n,  summed over channels

    encoder  an image or a text encoder with splits
    inputs   (B, 3, H, W) or B texts
    targets  (B, D), the other modality's embeddings
    layer    whose input z is; None: block 9 of 12 (one block before M2IB's), in proportion
             elsewhere
    steps    n, nodes of the right Riemann sum
    chunk    how many rows are in memory at once; does not change the result beyond rounding
    Returns the map (B, H, W), or for texts (B, T), in cosine, signed; trace: similarity (n + 1, B),
    S at 0, 1/n, ..., 1, and gap (1, B): the sum of all scores, special tokens included, minus S(1)
    - S(0). It tends to 0 as n grows, but slowly where layer norms follow: they undo the scale t, so
    that S jumps near 0. There is no randomness. cost: passes of the suffix and one of the prefix.
    Unlike the released code, a text is scored against its own image only, whatever else is in the
    batch.
    """
    check_call(encoder, inputs, targets, texts=True)
    for name, value in dict(steps=steps, chunk=chunk).items():
        check_number(name, value, 1, integer=True)
    split = encoder.split(encoder.default_layer if layer is None else layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    targets, points = targets.to(z), steps + 1
    scores, similarity = torch.zeros_like(z), torch.zeros(len(z), points, device=z.device)
    for rows in row_groups(encoder, len(z), points, chunk):
        i, k = rows // points, rows % points
        t = (k / steps).to(z).view(-1, *[1] * (z.ndim - 1))
        x = (t * z[i]).requires_grad_()
        s = F.cosine_similarity(split.suffix(x, like=z, rows=i), targets[i])
        (g,) = torch.autograd.grad(s.sum(), x)
        similarity[i, k] = s.detach()
        scores.index_add_(
            0, i, torch.where(t > 0, g * z[i] / steps, 0)
        )  # k = 0 is there for S(0) alone
    places = scores.sum(split.channel_dim)  # (B, T) or (B, h, w)
    real = places * z.valid if isinstance(z, Latent) else places
    gap = real.flatten(1).sum(1) - (similarity[:, -1] - similarity[:, 0])
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    return Attribution(
        map=split.to_map(places, like=z).float().cpu(),
        unit="cosine",
        signed=True,
        tokens=tokens,
        trace=dict(similarity=similarity.T.cpu(), gap=gap[None].cpu()),
        cost=dict(forwards=points + 1, backwards=points),
    )
