"""P-IBISA: which part of the input brings its embedding to a target embedding?"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import (
    check_choice,
    check_counts,
    check_not_negative,
    check_positive,
    check_seed,
    given,
)
from ..match import check_width
from ..types import Attribution, Encoder, TextEncoder
from .base import gradient_of, method
from .masks import area, grid_size, mean_mask, sample_grids, total_variation
from .p_ibisa_inputs import each_text, masked_images


@method
def p_ibisa(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    beta: float | None = 2.0,
    phi: float | None = 1.0,
    masks: int = 20,
    steps: int = 15,
    alpha: float = 3.0,
    rate: int | None = None,
    lr: float = 1.0,
    align: str = "cosine",
    why: str = "similar",
    weights_lr: float = 0.1,
    t_min: float | None = 0.1,
    k: int | None = None,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """Masks that keep just what the encoder needs to land on a target (P-IBISA, Eqs. 2 to 9).

        m = sigmoid(bicubic(g)),  g ~ U(-alpha, alpha)                          Eqs. 3, 4
        L = L_align(f(x m), h_t) + beta/k ||m||_1 + phi/k TV(m)                 Eq. 6, fixed
        L = L_align + e^-beta/k ||m||_1 + e^-phi/k TV(m) + (beta + phi)/t + e^-t Eq. 8, learned
        s = mean of the masks                                                   Eq. 2

    encoder     f, an image encoder, whole or split, or a text encoder with splits; only its input
                gradient is used
    inputs      x, (B, 3, H, W), normalised as `encoder.transform` does: where m = 0 the image is
                the mean colour; or B texts, which the paper leaves open: p_ibisa_inputs.py says
                what is masked there
    targets     h_t, (B, D): the embedding of the input itself, of another one, or of the other
                modality
    beta, phi   weights of area and total variation; both None: learned for every mask from 0, 0 and
                t = 1 (Eq. 8). Words side by side need not belong together, so that texts have no
                total variation and phi is for images only. The paper's default is learned weights;
                ours are those of its Tables 2 and 3, as Eq. 8 has several meanings (notebook 10)
    masks       N, independent random starts whose results are averaged; every image gets the same
                starts
    steps       T, Adam steps
    alpha       half width of the start values
    rate        l, pixels per grid cell; None: 32, or a 7-cell side for images below 224
    lr          Adam's learning rate for the grids
    align       "cosine": 1 - cos; "mse": mean squared error, for models that rank by Euclidean
                distance
    why         "similar"; "different": L_align is max(0, cos) (Eq. 9); "contrast": the similar map
                minus the different one
    weights_lr  Adam's learning rate for beta, phi and t
    t_min       floor of t: without one the loss has no lower bound; None: no t, it stays 1
    k           what the penalties are divided by; None: C H W, for a text of T words 3 T
    chunk       how many masked inputs are in memory at once; does not change the result
    Returns a map (B, H, W), or for texts (B, T), in [0, 1], for "contrast" in [-1, 1]; trace: loss,
    align, area (mean mask value), and for learned weights beta, phi, t, each (steps, B, N); cost: N
    T passes forward and as many backward per input. Raises ValueError or TypeError for inputs and
    targets of the wrong kind, shape or with NaN.

    Where the paper is silent: Eq. 8 is divided by k as Eq. 6 is, and its weights move at a rate of
    0.1; notebook 10 shows what the other interpretations do. The grid is optimised, not the
    full-size mask, and k counts the channels.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    text = isinstance(encoder, TextEncoder)
    check_counts(masks=masks, steps=steps, chunk=chunk)
    check_positive(lr=lr, alpha=alpha, weights_lr=weights_lr)
    if (beta is None) != (phi is None) and not text:
        raise ValueError(
            f"beta and phi are both numbers or both None (learned), got beta={beta!r}, phi={phi!r}"
        )
    check_not_negative(**given(beta=beta, phi=phi))
    check_positive(**given(t_min=t_min, k=k))
    check_choice("why", why, ("similar", "different", "contrast"))
    check_choice("align", align, DISTANCES)
    if align == "mse" and why != "similar":
        raise ValueError(f'align must be "cosine" for why={why!r}, got {align!r}')
    check_seed(seed)

    options = dict(
        beta=beta,
        phi=0.0 if text else phi,
        steps=steps,
        lr=lr,
        weights_lr=weights_lr,
        t_min=t_min,
        chunk=chunk,
    )
    size = None if text else tuple(inputs.shape[-2:])
    start = None if text else sample_grids(masks, grid_size(size, rate), alpha, seed)
    runs = {}
    for side in ("similar", "different") if why == "contrast" else (why,):
        options["distance"] = different if side == "different" else DISTANCES[align]
        if text:
            optimise = partial(optimise_grids, encoder, None, **options)
            runs[side] = each_text(
                encoder, inputs, targets, optimise, masks=masks, alpha=alpha, k=k, seed=seed
            )
        else:
            g, trace = optimise_grids(encoder, inputs, targets, start, k=k, **options)
            runs[side] = mean_mask(g, size), trace
    maps = [m for m, _ in runs.values()]
    trace = {
        name if side == why else f"{name}_{side}": v
        for side, (_, t) in runs.items()
        for name, v in t.items()
    }
    return Attribution(
        map=maps[0] - maps[1] if why == "contrast" else maps[0],
        unit="mask value",
        signed=why == "contrast",
        trace=trace,
        cost=dict(forwards=masks * steps * len(maps), backwards=masks * steps * len(maps)),
        tokens=encoder.tokenize(inputs)[2] if text else None,
    )


def similar(h: Tensor, target: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(h, target)  # cosine embedding loss of a positive pair


def squared(h: Tensor, target: Tensor) -> Tensor:
    return (h - target).square().mean(1)


def different(h: Tensor, target: Tensor) -> Tensor:
    return F.cosine_similarity(h, target).clamp(min=0)  # Eq. 9


DISTANCES = {"cosine": similar, "mse": squared}


@torch.enable_grad()
def optimise_grids(
    encoder,
    inputs,
    targets,
    start,
    distance,
    *,
    beta,
    phi,
    steps,
    lr,
    weights_lr,
    t_min,
    k,
    chunk,
    look=None,
):
    """Steps 1.1 to 1.5 of Algorithm 1 for all B inputs and N masks at once: grids (B, N, h, w) and
    their trace.

    The R = B N rows share no term of the loss and Adam is elementwise, so one Adam is R independent
    ones.
    look  (grids, input of each) -> masks, embeddings; None: `masked_images`
    """
    k, look = k or inputs[0].numel(), look or masked_images(encoder, inputs)  # k = C H W
    target, b, n = targets, len(targets), len(start)
    g = start.to(target).repeat(b, 1, 1)  # (R, h, w)
    w = torch.tensor([0.0, 0.0, 1.0]).to(target).repeat(b * n, 1)  # (R, 3): beta, phi, t
    learned = beta is None
    groups = [dict(params=[g], lr=lr)] + [dict(params=[w], lr=weights_lr)] * learned
    adam, params, history = torch.optim.Adam(groups), [g, w] if learned else [g], []
    for step in progress(range(steps), "P-IBISA"):
        losses, grads = [], []
        for rows in row_groups(encoder, b, n, chunk):
            leaves = [p[rows].requires_grad_() for p in params]
            m, h = look(leaves[0], rows // n)  # (r, H, W), (r, D)
            check_width(encoder, h, target)
            a = distance(h, target[rows // n])  # (r,)
            l1, tv = area(m) / k, total_variation(m) / k  # (r,) each
            if learned:
                log_area, log_tv, t = leaves[1].unbind(1)
                if phi == 0:  # no total variation, so no weight for it
                    tv, log_tv = 0 * tv, 0 * log_tv
                price = (-log_area).exp() * l1 + (-log_tv).exp() * tv  # Eq. 8
                price = price + (log_area + log_tv) / t + (-t).exp()
            else:
                price = beta * l1 + phi * tv  # Eq. 6
            loss = a + price
            first = step == 0 and distance is not different  # which may well be at its floor
            grads.append(gradient_of(encoder, inputs, loss, price, leaves, look=first))
            losses.append(torch.stack([loss, a, l1 * k / m[0].numel()]).detach())
        history.append(torch.cat([torch.cat(losses, 1), w.T.clone()]))  # (6, R)
        for p, parts in zip(params, zip(*grads)):
            p.grad = torch.cat(parts)
        adam.step()
        w[:, 2] = 1.0 if t_min is None else w[:, 2].clamp(min=t_min)
    names = ("loss", "align", "area", "beta", "phi", "t")[: 6 if learned else 3]
    values = torch.stack(history, 1).unflatten(2, (b, n)).cpu()  # (6, T, B, N)
    return g.unflatten(0, (b, n)), dict(zip(names, values))
