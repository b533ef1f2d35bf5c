"""AHA ("Learn to Rank", Schinagl et al. 2026): a network that draws the map, trained to do well at
deletion and insertion themselves."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import check_counts, check_folder, check_number, check_positive, check_seed
from ..corruption import REFERENCES, reference_image
from ..match import match, probabilities
from ..models.training import loop
from ..types import Attribution, ImageEncoder
from .base import method
from .explainers import Explainer, check_trainable, standard
from .soft_sort import levels, soft_topk

TAU = 0.1  # temperature of the soft sort; notebook 50 sets others beside it


@torch.enable_grad()
def ranking_loss(
    encoder, x: Tensor, targets: Tensor, m: Tensor, other: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Mean over S masks of match(m I0 + (1 - m) I) - match(m I + (1 - m) I0), deletion less
    insertion.

    m      (B, S, G, G), soft masks of the first k cells, brought to pixels by bilinear
           interpolation
    other  I0, (B, 3, H, W)
    Returns the loss (B,) and its gradient at m, found in portions of `chunk` masked pictures.
    """
    s, flat = m.shape[1], m.detach().flatten(0, 1)
    losses, grads = [], []
    for rows in row_groups(encoder, len(x), 2 * s, chunk):  # of each picture s ways out, s ways in
        i, insert = rows // (2 * s), (rows // s % 2 == 1)[:, None, None, None]
        leaf = flat[i * s + rows % s].requires_grad_()
        full = F.interpolate(leaf[:, None], size=x.shape[-2:], mode="bilinear")  # (r, 1, H, W)
        mixed = torch.lerp(x[i], other[i], torch.where(insert, 1 - full, full))
        p = match(encoder, encoder(mixed), targets[i])
        loss = torch.where(insert.flatten(), -p, p)
        grads.append(torch.autograd.grad(loss.sum(), leaf)[0])
        losses.append(loss.detach())
    ways = (len(x), 2, s)
    gradient = torch.cat(grads).unflatten(0, ways).sum(1) / s  # (B, S, G, G)
    return torch.cat(losses).view(ways).sum(1).mean(1), gradient


def train_explainer(
    encoder: ImageEncoder,
    pictures: Tensor,
    *,
    out: Path,
    grid: int = 28,
    s: int = 4,
    tau: float = TAU,
    noise: float = 0.0,
    steps: int = 1000,
    batch: int = 8,
    lr: float = 2e-3,
    seed: int = 0,
    chunk: int = 64,
) -> Explainer:
    """Train an explainer of `encoder`, which needs a head, on deletion less insertion; goes on from
    out/checkpoint.pt.

    pictures  (n, 3, H, W) uint8, n at least `batch`; classes are drawn in proportion to the square
              of what the encoder's softmax says: mostly the predicted one
    s         perturbation steps: values of k at every step, evenly spread and moved at random
              together
    noise     scale of the Gumbel noise on the matrix that is sorted
    The reference image changes from step to step: black, the picture's mean, blur.
    """
    check_counts(s=s, steps=steps, batch=batch, chunk=chunk)
    check_number("grid", grid, 2, integer=True)
    check_positive(tau=tau, lr=lr)
    check_number("noise", noise, 0)
    check_seed(seed)
    check_folder("out", out)
    check_trainable(encoder, pictures, batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        explainer = Explainer(encoder, grid=grid)
    size = dict(steps=steps, batch=batch, lr=lr, seed=seed)
    return taught(explainer, pictures, Path(out), size, s=s, tau=tau, noise=noise, chunk=chunk)


def taught(
    explainer: Explainer,
    pictures: Tensor,
    out: Path,
    size: dict,
    *,
    s: int,
    tau: float = TAU,
    noise: float = 0.0,
    chunk: int = 64,
) -> Explainer:
    """The explainer after `train_explainer`'s training; size: steps, batch, lr, seed."""
    check_trainable(explainer.backbone, pictures, size["batch"])
    out.mkdir(parents=True, exist_ok=True)
    encoder, seed, side = explainer.backbone, size["seed"], (explainer.grid,) * 2
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.mean, encoder.std))

    def terms(rows, step):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        x = ((pictures[rows].float() / 255 - mean) / std).to(encoder.device)
        latents, cells, z = explainer.read(x)
        with torch.no_grad():
            p = probabilities(encoder.head(encoder.split(encoder.depth).suffix(z))).cpu()
        classes = torch.multinomial(p.square(), 1, generator=generator)[:, 0].to(x.device)
        k = levels(explainer.grid**2, s, 0.02 + 0.96 * float(torch.rand(1, generator=generator)))
        a = explainer.draw(x, classes, latents, cells)
        m = soft_topk(a, k, tau=tau, noise=noise, seed=seed * 1_000_003 + step)
        other = reference_image(encoder, x, REFERENCES[1:][step % 3])
        loss, gradient = ranking_loss(encoder, x, classes, m.unflatten(2, side), other, chunk)
        linear = (m * gradient.flatten(2)).sum() / len(rows)  # has the loss's gradient
        return dict(loss=loss.mean() + linear - linear.detach())

    return loop(out, explainer, terms, dict(loss=1.0), n=len(pictures), **size)


@method
def aha(
    encoder: ImageEncoder,
    inputs: Tensor,
    targets: Tensor,
    *,
    explainer: Explainer,
    refine: int = 0,
    s: int = 4,
    tau: float = TAU,
    lr: float = 0.5,
    chunk: int = 64,
) -> Attribution:
    """The map that a trained explainer draws in one pass, refined in a few steps if wanted (AHA).

    encoder    the model to explain: asked only where `refine` is above 0, and then it may be
               another than the explainer's backbone
    inputs     (B, 3, H, W)
    targets    (B,) class indices, or (B, D) embeddings
    explainer  from `load_explainer` or `train_explainer`; it sees the picture through its own
               backbone
    refine     T, steps down the soft deletion less insertion score of this one picture, averaged
               over black, mean and blur
    s          values of k at each of them
    tau        temperature of the soft sort
    lr         length of a step, in units of the scores' spread: the gradient is scaled to a root
               mean square of 1
    chunk      how many masked pictures are in memory at once; does not change the result beyond
               rounding
    Returns a map (B, H, W): scores of G x G cells brought to pixels, mean 0, spread 1; only their
    order has a meaning, and the map is signed because they are centred. trace, where T > 0: "loss"
    (T, B), soft deletion less insertion before each step; "scores" (T + 1, B, G, G), the cells
    before the first step and after each. cost: 1 pass of the explainer's backbone, and for each
    step 6 s passes of the encoder forward and as many backward.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    if not isinstance(explainer, Explainer):
        raise TypeError(
            "explainer must come from load_explainer or train_explainer, got"
            f" {type(explainer).__name__}"
        )
    check_call(explainer.backbone, inputs, targets, classes=True)
    check_number("refine", refine, 0, integer=True)
    check_counts(s=s, chunk=chunk)
    check_positive(tau=tau, lr=lr)
    x = inputs
    with torch.no_grad():
        a = explainer(x.to(explainer.backbone.device), targets.to(explainer.backbone.device)).to(
            x
        )  # (B, N)
    side, k = (explainer.grid,) * 2, levels(explainer.grid**2, s)
    others = [reference_image(encoder, x, name) for name in REFERENCES[1:]] if refine else []
    losses, scores = [], [a]
    for _ in progress(range(refine), "AHA") if refine else ():
        leaf = a.detach().requires_grad_()
        with torch.enable_grad():
            m = soft_topk(leaf, k, tau=tau)
            found = [
                ranking_loss(encoder, x, targets, m.unflatten(2, side), other, chunk)
                for other in others
            ]
            step = torch.autograd.grad(m, leaf, sum(g for _, g in found).flatten(2))[0]
        a = standard(a - lr * step / (step.square().mean(1, keepdim=True) + 1e-20).sqrt())
        losses.append(torch.stack([loss for loss, _ in found]).mean(0))
        scores.append(a)
    trace = (
        dict(loss=torch.stack(losses).cpu(), scores=torch.stack(scores).unflatten(2, side).cpu())
        if refine
        else {}
    )
    passes = 6 * s * refine
    return Attribution(
        map=to_pixels(a, tuple(x.shape[-2:])),
        unit="standardised rank score",
        signed=True,
        trace=trace,
        cost=dict(forwards=1 + passes, backwards=passes),
    )


def refined_maps(a: Attribution, size: tuple[int, int]) -> Tensor:
    """The maps before the first step of refinement and after each, (T + 1, B, H, W)."""
    return torch.stack([to_pixels(scores.flatten(1), size) for scores in a.trace["scores"]])


def to_pixels(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, G G) -> (B, H, W) float32 on the CPU, bilinear."""
    g = round(scores.shape[1] ** 0.5)
    return (
        F.interpolate(scores.unflatten(1, (g, g))[:, None], size=size, mode="bilinear")[:, 0]
        .float()
        .cpu()
    )
