"""Grad-CAM: features weighed by the gradient of the score."""

import torch
from torch import Tensor

from ..arguments import check_call
from ..checks import check_counts, check_flag
from ..types import Attribution, Encoder, TextEncoder
from .base import method
from .gradients import finished, gradient, unit


@method
def grad_cam(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    pool: bool = True,
    chunk: int = 64,
) -> Attribution:
    """Which places hold features that raise the score (Grad-CAM, Selvaraju et al. 2017, Eqs. 1, 2)?

        w_c = mean over places of dS/dz_c,   A = ReLU( sum_c w_c z_c )

    encoder  an image or a text encoder with splits
    inputs   (B, 3, H, W) or B texts
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their logit, as in the
             paper
    layer    whose input z is; None: for CNNs the output of the last block, as in the paper, for
             tokens what is `m2ib`'s default
    pool     False: A = ReLU( sum_c z_c dS/dz_c ), each place with its own gradient (HiResCAM,
             Draelos and Carin 2020), which is what the NIB repository calls Grad-CAM
    chunk    how many rows are in memory at once; does not change the result
    Returns the map (B, H, W), or for texts (B, T), in units of S per place, >= 0, bilinear between
    cells. cost: one pass each way. A map is 0 everywhere where no place speaks for the target.
    Class and end tokens are left out of the mean, as they are out of the map: the paper knows none.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_counts(chunk=chunk)
    check_flag("pool", pool)
    if layer is None:
        is_cnn = not isinstance(encoder, TextEncoder) and encoder.tokens is None
        layer = encoder.depth if is_cnn else encoder.layer_at(10 / 12)
    split = encoder.split(layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    w = gradient(encoder, split, z, targets, chunk, logit=True)
    if pool:
        inside, places = shown(encoder, z), (2, 3) if split.channel_dim == 1 else 1
        w = (w * inside).sum(places, keepdim=True) / inside.sum(places, keepdim=True)  # Eq. 1
    scores = (w * z).sum(split.channel_dim).clamp(min=0)  # Eq. 2
    return finished(encoder, split, inputs, z, scores, unit(targets, logit=True), signed=False)


def shown(encoder: Encoder, z: Tensor) -> Tensor:
    """1 at the places that `to_map` shows, else 0; broadcasts over z."""
    if isinstance(encoder, TextEncoder):
        return encoder.words(z.text)[..., None].to(z.dtype)  # (B, T, 1)
    if encoder.tokens is None:
        return torch.ones_like(z[:1, :1])  # (1, 1, h, w)
    return (torch.arange(z.shape[1], device=z.device) >= encoder.tokens[0])[None, :, None].to(
        z.dtype
    )  # (1, T, 1)
