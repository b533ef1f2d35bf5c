"""M2IB (Wang et al. 2023): how much of each token must pass a noisy bottleneck for the embedding to
match the other modality's?"""

import torch
from torch import Tensor

from ..arguments import check_call
from ..checks import check_counts, check_flag, check_number, check_positive, check_seed
from ..match import match
from ..types import Attribution, Encoder
from .base import method
from .bottleneck import optimise_gates, own_noise


@method
def m2ib(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    beta: float = 0.1,
    sigma: float = 1.0,
    steps: int = 10,
    lr: float = 1.0,
    copies: int = 10,
    noise: bool = True,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """A gate per token and channel of one layer, opened just as far as the match needs (M2IB, Sec.
    3).

        z' = lambda z + (1 - lambda) sigma eps,  eps ~ N(0, 1)
        lambda = sigmoid(a), a = 5 at the start
        L  = beta mean KL( p(z'|x) || N(0, 1) ) - mean over copies of cos(suffix(z'), target)
        s  = KL at the last forward pass, summed over channels

    encoder  an image or a text encoder with splits; only the gates are optimised
    inputs   (B, 3, H, W) or B texts
    targets  (B, D), the other modality's embeddings
    layer    where the bottleneck sits, the input of that block; None: the output of block 9 of 12,
             in proportion elsewhere
    beta     weight of the compression; the mean runs over a sample's own tokens, special ones
             included, and channels
    sigma    scale of the noise, as the paper has it. The released code stores it and never uses it:
             there it is 1
    steps    Adam steps at rate lr
    copies   noisy copies of every sample
    noise    False: eps = 0 and one copy; the map is the same on every call and needs no seed
    chunk    how many rows are in memory at once; does not change the result beyond rounding
    The paper's Eq. 15 sums the KL over all elements; the released code takes the mean, and so does
    this. So beta weighs here as beta / (number of elements) would there: with the sum, 0.1 would
    let the compression drown the cosine.
    Returns the map (B, H, W), or for texts (B, T), in nats, >= 0; trace: loss, fit (cosine), kl
    and gate (means over elements), each (steps, B); cost: passes of the suffix and one of the
    prefix. As in the released code the last step's update is computed and not used. Pixels come
    from cells by `to_map`, bilinear.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_counts(steps=steps, copies=copies, chunk=chunk)
    check_positive(sigma=sigma, lr=lr)
    check_number("beta", beta, 0)
    check_flag("noise", noise)
    check_seed(seed)
    split = encoder.split(encoder.layer_at(10 / 12) if layer is None else layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    copies = copies if noise else 1
    draw = (
        own_noise(z, copies, seed)
        if noise
        else lambda: torch.zeros(1, 1, *[1] * (z.ndim - 1), device=z.device)
    )

    def fit(rows, i):
        return match(encoder, split.suffix(rows, like=z, rows=i), targets[i])

    passed, trace = optimise_gates(
        encoder,
        z,
        fit,
        draw,
        copies=copies,
        beta=beta,
        sigma=sigma,
        steps=steps,
        lr=lr,
        chunk=chunk,
        what="M2IB",
    )
    map = split.to_map(passed.sum(split.channel_dim), like=z).float().cpu()
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    cost = dict(forwards=copies * steps + 1, backwards=copies * steps)
    return Attribution(map=map, unit="nats", signed=False, trace=trace, cost=cost, tokens=tokens)
