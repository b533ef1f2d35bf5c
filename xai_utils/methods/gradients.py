"""Baselines that read the gradient at the input: Saliency, Integrated Gradients, FastIG, MFABA."""

import torch
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import check_counts, check_positive
from ..match import match
from ..types import Attribution, Encoder, Split, TextEncoder
from .base import method


@method
def saliency(encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64) -> Attribution:
    """How steep the score is at each pixel or token (Simonyan et al. 2014, Sec. 3).

        images: A = max over channels of |dS/dx|
        texts:  A = ||dS/dz||_2 over the width of a token's state z

    encoder  an image encoder, split or not, or a text encoder with splits
    inputs   (B, 3, H, W) or B texts
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their logit, as in the
             paper
    chunk    how many rows are in memory at once; does not change the result
    Returns the map (B, H, W), or for texts (B, T), in score per unit of the normalised input, >= 0.
    cost: one pass each way. The paper knows no texts: the states are those at the input of block 0,
    and the 2-norm depends on no choice of axes.
    """
    split, z = start(encoder, inputs, targets, chunk)
    g = gradient(encoder, split, z, targets.to(z.device), chunk, logit=True)
    scores = g.norm(dim=-1) if isinstance(encoder, TextEncoder) else g.abs().amax(1)
    counted = unit(targets, logit=True) + " per input unit"
    return finished(encoder, split, inputs, z, scores, counted, signed=False)


@method
def integrated_gradients(
    encoder: Encoder, inputs, targets: Tensor, *, steps: int = 50, chunk: int = 64
) -> Attribution:
    """The gradient averaged on the straight way from an empty input b, times that way (Sundararajan
    et al. 2017, Eq. 3).

        A = (x - b)/n sum_k dS/dx at b + k/n (x - b),  k = 1..n,  summed over channels

    encoder, inputs, chunk  as in `saliency`
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their probability, as in
             the paper
    steps    n, nodes of the right Riemann sum; the paper finds 20 to 300 enough
    Returns the map (B, H, W), or for texts (B, T), in units of S, signed; trace: similarity (n + 1,
    B), S at b, ..., x, and gap (1, B): the sum of all scores minus S(x) - S(b), which tends to 0 as
    n grows. There is no randomness. b is the mean colour; for texts what `blank` says, at the input
    of block 0. Not captum's own function, whose batches mix samples, so that rounding would depend
    on the rest of the batch; tests compare the two.
    """
    check_counts(steps=steps)
    split, z = start(encoder, inputs, targets, chunk)
    b, targets, points = blank(encoder, inputs, z), targets.to(z.device), steps + 1
    scores, similarity = torch.zeros_like(z), torch.zeros(len(z), points, device=z.device)
    for rows in row_groups(encoder, len(z), points, chunk):
        i, k = rows // points, rows % points
        way = z[i] - b[i]
        t = (k / steps).to(z).view(-1, *[1] * (z.ndim - 1))
        s, g = slope(encoder, split, z, i, b[i] + t * way, targets[i])
        similarity[i, k] = s.to(similarity)
        scores.index_add_(
            0, i, torch.where(t > 0, g * way / steps, 0)
        )  # k = 0 is there for S(b) alone
    places = scores.sum(split.channel_dim)
    gap = places.flatten(1).sum(1) - (similarity[:, -1] - similarity[:, 0])
    trace = dict(similarity=similarity.T.cpu(), gap=gap[None].cpu())
    return finished(
        encoder, split, inputs, z, places, unit(targets), signed=True, passes=points, trace=trace
    )


@method
def fast_ig(encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64) -> Attribution:
    """Integrated gradients in one pass: input times gradient (X-Gradient, Hesse et al. 2021, Eq.
    6).

        A = (x - b) dS/dx, summed over channels

    For networks without biases this equals the integral; elsewhere it is its right Riemann sum with
    one node. Arguments, b and map as in `integrated_gradients`, but for classes S is the logit, as
    in the paper. cost: one pass each way. The NIB repository gives this name to attention times its
    gradient: that one is `attention_fast_ig`.
    """
    split, z = start(encoder, inputs, targets, chunk)
    g = gradient(encoder, split, z, targets.to(z.device), chunk, logit=True)
    scores = ((z - blank(encoder, inputs, z)) * g).sum(split.channel_dim)
    return finished(encoder, split, inputs, z, scores, unit(targets, logit=True), signed=True)


@method
def mfaba(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    steps: int = 10,
    rate: float = 0.01,
    chunk: int = 64,
) -> Attribution:
    """Down the score in small steps of the gradient's sign: how much did each place contribute?
    (MFABA, Zhu et al. 2024)

        x_{j+1} = x_j - rate sign(g_j),  g_j = dS/dx at x_j
        A = sum_j (x_j - x_{j+1}) g_j, summed over channels

    encoder, inputs, chunk  as in `saliency`
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their probability
    layer    None: x is the image, as in MFABA; 0: its tokens with their positions, as in the NIB
             repository. Texts: always 0
    steps    j = 1..steps, as in the NIB repository
    rate     length of a step in each coordinate, in units of the normalised input
    Returns the map (B, H, W), or for texts (B, T), in units of S, >= 0: each term is rate |g|.
    cost: `steps` passes each way. MFABA's own code stops when the predicted class changes and keeps
    x in a box; a cosine has no class, so neither is done. In the NIB repository a text's steps go
    to the embedding table, so that repeated words share a score; not here.
    """
    check_counts(steps=steps)
    check_positive(rate=rate)
    split, z = start(encoder, inputs, targets, chunk, layer)
    x, scores, targets = z, torch.zeros_like(z), targets.to(z.device)
    for _ in progress(range(steps), "MFABA"):
        g = gradient(encoder, split, z, targets, chunk, at=x)
        step = rate * g.sign()
        x, scores = x - step, scores + step * g
    return finished(
        encoder,
        split,
        inputs,
        z,
        scores.sum(split.channel_dim),
        unit(targets),
        signed=False,
        passes=steps,
    )


@torch.no_grad()
def start(
    encoder: Encoder, inputs, targets: Tensor, chunk: int, layer: int | None = None
) -> tuple[Split, Tensor]:
    """The arguments checked, the place where gradients are taken, and the inputs brought there.

    layer None: the pixels, with all of the encoder behind them; for texts, which have none, layer
    0.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_counts(chunk=chunk)
    if layer is not None or isinstance(encoder, TextEncoder):
        split = encoder.split(layer or 0)
        return split, split.prefix(inputs)
    split = Split(
        lambda x: x,
        lambda z, like=None, rows=None: encoder(z),
        lambda scores, like=None: scores,
        channel_dim=1,
    )
    return split, inputs.detach().to(encoder.device)


@torch.no_grad()
def blank(encoder: Encoder, inputs, z: Tensor) -> Tensor:
    """The empty input, shaped as z: the mean colour; for texts the same special tokens and
    positions around zero words."""
    if not isinstance(encoder, TextEncoder):
        return torch.zeros_like(z)
    ids, valid, _ = encoder.tokenize(inputs)
    return encoder.parts.stem(ids, ~encoder.words(valid))


@torch.enable_grad()
def slope(
    encoder, split: Split, z: Tensor, i: Tensor, x: Tensor, targets: Tensor, *, logit=False
) -> tuple[Tensor, Tensor]:
    """S (r,) and dS/dx of rows x (r, ...) that stem from samples i of z."""
    x = x.detach().requires_grad_()
    s = match(encoder, split.suffix(x, like=z, rows=i), targets, logit=logit)
    return s.detach(), torch.autograd.grad(s.sum(), x)[0]


def gradient(
    encoder,
    split: Split,
    z: Tensor,
    targets: Tensor,
    chunk: int,
    *,
    at: Tensor | None = None,
    logit=False,
) -> Tensor:
    """dS/dx of every sample, at x = z or `at`, shaped as z."""
    x = z if at is None else at
    groups = row_groups(encoder, len(z), 1, chunk)
    return torch.cat(
        [slope(encoder, split, z, i, x[i], targets[i], logit=logit)[1] for i in groups]
    )


def unit(targets: Tensor, *, logit=False) -> str:
    """What `match` counts in."""
    return "cosine" if targets.ndim == 2 else "logit" if logit else "probability"


def finished(
    encoder, split: Split, inputs, z, scores, unit: str, *, signed: bool, passes=1, trace=None
) -> Attribution:
    """Scores of z's places -> what a method returns."""
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    cost, map = dict(forwards=passes, backwards=passes), split.to_map(scores, like=z).float().cpu()
    return Attribution(
        map=map, unit=unit, signed=signed, trace=trace or {}, cost=cost, tokens=tokens
    )
