"""IBISA (Coelho and Cardoso 2025), P-IBISA's predecessor: a sampled mask, improved by a few steps
of the bottleneck, for classifiers."""

import torch
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import check_counts, check_flag, check_not_negative, check_positive, check_seed
from ..match import match
from ..types import Attribution, ImageEncoder
from .base import gradient_of, method
from .bottleneck import log_match
from .masks import area, grid_size, sample_grids, total_variation, upsample


@method
def ibisa(
    encoder: ImageEncoder,
    inputs: Tensor,
    targets: Tensor,
    *,
    beta: float = 2.0,
    phi: float = 1.0,
    masks: int = 10,
    steps: int = 10,
    alpha: float = 3.0,
    rate: int | None = None,
    lr: float = 1.0,
    each: bool = False,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """A mask that keeps what the prediction needs, from 20 forward and 10 backward passes (IBISA,
    Neurocomputing 638:130112).

        g = 1/N sum_n w_n g_n,   w_n = (S(x m_n) - mean) / std    N forwards
        g_n ~ U(-alpha, alpha),   m = sigmoid(bicubic(g))
        L = -log p(class | x m) + beta/k ||m||_1 + phi/k TV(m)    T forwards, T backwards
        A = m after T Adam steps on g

    encoder, inputs, alpha, rate, lr, chunk  as in `p_ibisa`, and so k = C H W
    targets  (B,) classes, as in the paper: S is their probability; (B, D) embeddings: S is the
             cosine, and -S stands for -log p
    beta, phi  weights of area and total variation
    masks    N, the same for every image
    steps    T
    each     every start is improved by itself, without weighing, and A is the mean of the N masks,
             as in P-IBISA: N T passes forward and as many backward
    Returns a map (B, H, W) in [0, 1]; trace: loss, fit (log p or cosine), area (mean mask value),
    each (T, B), or (T, B N) for `each`.

    This is an interpretation, not the authors' algorithm, of which we have the abstract (sampling
    masks optimised by the bottleneck principle, right behind the input, in 20 and 10 passes) and a
    sentence of P-IBISA (cross-entropy to the prediction in the place of L_align). Scoring N = 10
    masks as RISE does, and T = 10 steps from their weighted mean, adds up to these passes. It was
    chosen among such interpretations by the IoU on six scenes, where ten steps from an even mask
    did as well. The regularisers are P-IBISA's.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    check_counts(masks=masks, steps=steps, chunk=chunk)
    check_positive(lr=lr, alpha=alpha)
    check_not_negative(beta=beta, phi=phi)
    check_flag("each", each)
    check_seed(seed)
    x, size = inputs, tuple(inputs.shape[-2:])
    grids = sample_grids(masks, grid_size(size, rate), alpha, seed).to(x)
    if each:
        g = grids.repeat(len(x), 1, 1)  # (B N, h, w)
        x, targets = (v.repeat_interleave(masks, 0) for v in (x, targets))
    else:
        g = weighted_mean(encoder, x, targets, grids, chunk)  # (B, h, w)
    g, trace = improved(encoder, x, targets, g, beta=beta, phi=phi, steps=steps, lr=lr, chunk=chunk)
    ends = upsample(g, size).unflatten(0, (len(inputs), -1))  # (B, 1 or N, H, W)
    backwards = masks * steps if each else steps
    return Attribution(
        map=ends.mean(1).float().cpu(),
        unit="mask value",
        signed=False,
        trace=trace,
        cost=dict(forwards=backwards if each else masks + steps, backwards=backwards),
    )


@torch.no_grad()
def weighted_mean(encoder, x: Tensor, targets: Tensor, grids: Tensor, chunk: int) -> Tensor:
    """The grids (N, h, w) weighed for every image by how well its masked score compares, (B, h,
    w)."""
    n, scores = len(grids), []
    for rows in row_groups(encoder, len(x), n, chunk):
        m = upsample(grids[rows % n], tuple(x.shape[-2:]))
        scores.append(match(encoder, encoder(x[rows // n] * m[:, None]), targets[rows // n]))
    s = torch.cat(scores).view(-1, n)
    w = (s - s.mean(1, keepdim=True)) / s.std(1, correction=0, keepdim=True).clamp(
        min=torch.finfo(s.dtype).tiny
    )
    return torch.einsum("bn,nhw->bhw", w, grids) / n


@torch.enable_grad()
def improved(
    encoder, x: Tensor, targets: Tensor, g: Tensor, *, beta, phi, steps, lr, chunk
) -> tuple[Tensor, dict]:
    """T steps for all images: they share no term of the loss, so that one Adam serves them all."""
    adam, k, history = torch.optim.Adam([g], lr=lr), x[0].numel(), []
    for step in progress(range(steps), "IBISA"):
        losses, grads = [], []
        for rows in row_groups(encoder, len(x), 1, chunk):
            leaf = g[rows].requires_grad_()
            m = upsample(leaf, tuple(x.shape[-2:]))  # (r, H, W)
            fit = log_match(encoder, encoder(x[rows] * m[:, None]), targets[rows])
            price = beta / k * area(m) + phi / k * total_variation(m)
            loss = price - fit
            grads += gradient_of(encoder, x, loss, price, [leaf], look=step == 0)
            losses.append(torch.stack([loss, fit, area(m) / m[0].numel()]).detach())
        history.append(torch.cat(losses, 1))
        g.grad = torch.cat(grads)
        adam.step()
    return g, dict(zip(("loss", "fit", "area"), torch.stack(history, 1).cpu()))
