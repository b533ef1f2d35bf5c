"""IBA: how many bits of each place of one layer does the prediction need?"""

from math import log

import torch
from torch import Tensor

from ..arguments import check_call
from ..checks import check_counts, check_finite, check_not_negative, check_positive, check_seed
from ..types import Attribution, Encoder, ImageEncoder
from .base import method
from .bottleneck import log_match, optimise_gates, own_noise, real_elements

FLOOR = 0.01  # of s: a channel that does not vary still gets some noise


@method
def iba(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    beta: float | None = None,
    smooth: float = 1.0,
    statistics: tuple[Tensor, Tensor] | None = None,
    steps: int = 10,
    lr: float = 1.0,
    copies: int = 10,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """The per-sample bottleneck: features give way to noise that looks like them (IBA, Schulz et
    al. 2020, Sec. 3).

        z' = lambda z + (1 - lambda) eps,   eps ~ N(mu, s^2)                   Eq. 2
        lambda = blur(sigmoid(a)),  a = 5 at the start
        L  = beta mean KL( p(z'|x) || N(mu, s^2) ) + mean over copies of L_CE  Eqs. 5, 6
        L_CE = -log p(class)
        A  = KL at the last forward pass, summed over channels, over log 2

    encoder  an image or a text encoder with splits; only the gates are optimised
    inputs   (B, 3, H, W) or B texts
    targets  (B,) classes, as in the paper; (B, D) embeddings: L_CE is 1 - cosine
    layer    where the bottleneck sits, the input of that block; None: `encoder.default_layer`
    beta     weight of the compression; the mean runs over a sample's own elements. None: 10 for
             classes, as in the paper, and 1 for embeddings: a cosine moves less than a log
             probability, and 10 would leave nothing of it
    smooth   standard deviation of the blur over neighbouring cells, in cells, 0: none. Texts are
             not blurred
    statistics  mu and s, each to broadcast over one sample's z; None: the mean and standard
                deviation of each channel over the
             sample's own places. The paper takes them from a set of images, element by element
    steps, lr  Adam
    copies   noisy copies of every sample
    chunk    how many rows are in memory at once; does not change the result beyond rounding
    Returns the map (B, H, W), or for texts (B, T), in bits, >= 0; trace: loss (up to a constant),
    fit (log probability or cosine), kl (nats) and gate (means over elements), each (steps, B);
    cost: passes of the suffix and one of the prefix. A blur that comes to the border is divided by
    the weights that lie inside; the authors' code pads by reflection.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_counts(steps=steps, copies=copies, chunk=chunk)
    beta = beta if beta is not None else 10.0 if targets.ndim == 1 else 1.0
    check_positive(lr=lr)
    check_not_negative(beta=beta, smooth=smooth)
    check_seed(seed)
    if statistics is not None:
        check_statistics(statistics)
    split = encoder.split(encoder.default_layer if layer is None else layer)
    with torch.no_grad():
        z = split.prefix(inputs)
        mu, s = (
            own_statistics(z, split.channel_dim)
            if statistics is None
            else given_statistics(statistics, z)
        )
        x = (z - mu) / s  # in units of the noise: N(mu, s^2) becomes N(0, 1)

    def fit(rows, i):
        return log_match(encoder, split.suffix(rows * s[i] + mu[i], like=z, rows=i), targets[i])

    passed, trace = optimise_gates(
        encoder,
        x,
        fit,
        own_noise(z, copies, seed),
        like=z,
        copies=copies,
        beta=beta,
        sigma=1.0,
        steps=steps,
        lr=lr,
        chunk=chunk,
        what="IBA",
        smooth=lambda gate: blurred(encoder, gate, smooth),
    )
    map = split.to_map(passed.sum(split.channel_dim) / log(2), like=z).float().cpu()
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    cost = dict(forwards=copies * steps + 1, backwards=copies * steps)
    return Attribution(map=map, unit="bits", signed=False, trace=trace, cost=cost, tokens=tokens)


def own_statistics(z: Tensor, channel_dim: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over a sample's own places, shaped as z."""
    real, places = real_elements(z).expand_as(z), (2, 3) if channel_dim == 1 else (1,)
    n = real.sum(places, keepdim=True)
    mu = (z * real).sum(places, keepdim=True) / n
    s = (((z - mu) * real).square().sum(places, keepdim=True) / n).sqrt()
    return mu.expand_as(z), s.clamp(min=FLOOR).expand_as(z)


def check_statistics(statistics) -> None:
    if (
        not isinstance(statistics, (tuple, list))
        or len(statistics) != 2
        or not all(isinstance(t, Tensor) for t in statistics)
    ):
        raise TypeError("statistics must be two tensors, mean and standard deviation")
    for t in statistics:
        check_finite("statistics", t)
    if (statistics[1] < 0).any():
        raise ValueError("statistics holds a negative standard deviation")


def given_statistics(statistics, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation shaped as z, whose own shape only the prefix tells."""
    for t in statistics:
        if t.ndim >= z.ndim or any(
            n not in (1, size) for n, size in zip(t.shape[::-1], z.shape[::-1])
        ):
            raise ValueError(
                f"statistics must broadcast to {tuple(z[0].shape)}, got {tuple(t.shape)}"
            )
    mu, s = (t.detach().to(z).expand_as(z) for t in statistics)
    return mu, s.clamp(min=FLOOR)


def blurred(encoder: Encoder, gate: Tensor, sigma: float) -> Tensor:
    """Gates averaged over neighbouring cells with Gaussian weights; extra tokens and texts stay as
    they are."""
    if not sigma or not isinstance(encoder, ImageEncoder):
        return gate
    if encoder.tokens is None:
        return (
            gaussian(gate.shape[2], sigma).to(gate)
            @ gate
            @ gaussian(gate.shape[3], sigma).to(gate).T
        )  # (b, C, h, w)
    extra, grid = encoder.tokens
    rows, columns = (gaussian(n, sigma).to(gate) for n in grid)
    cells = torch.einsum("ij,bjkc,lk->bilc", rows, gate[:, extra:].unflatten(1, grid), columns)
    return torch.cat([gate[:, :extra], cells.flatten(1, 2)], 1)


def gaussian(n: int, sigma: float) -> Tensor:
    """(n, n): what each cell takes from each, rows adding up to 1."""
    distance = torch.arange(n)[:, None] - torch.arange(n)
    return (-0.5 * (distance / sigma).square()).softmax(1)
