"""The bottleneck that IBA, M2IB and AdaIB put into a layer: a gate per token and channel lets
features or noise through."""

import torch
from torch import Tensor

from ..batching import progress, row_groups
from ..match import log_probabilities, match
from ..types import Encoder, Latent
from .base import check_slope


def compressed(z: Tensor, gate: Tensor, noise: Tensor | float, sigma: float) -> Tensor:
    """lambda z + (1 - lambda) sigma eps, shapes as z (M2IB Eq. 5 in the form that the released code
    has)."""
    return gate * z + (1 - gate) * sigma * noise


def information(z: Tensor, gate: Tensor, sigma: float) -> Tensor:
    """KL( N(lambda z, ((1 - lambda) sigma)^2) || N(0, 1) ) of every element in nats, shaped as z:
    what passes the gate.

    A gate that float32 rounds to 1 counts as 1 - 2^-25: where nothing presses it shut, the KL stays
    finite.
    """
    mean, variance = gate * z, ((1 - gate).clamp(min=2**-25) * sigma).square()
    return 0.5 * (mean.square() + variance - 1 - variance.log())


def log_match(encoder: Encoder, h: Tensor, targets: Tensor) -> Tensor:
    """What a bottleneck keeps up, (r,): for (r,) classes the log probability, so that -log_match is
    the cross-entropy; for (r, D) embeddings the cosine."""
    if targets.ndim == 2:
        return match(encoder, h, targets)
    return log_probabilities(encoder.head(h)).gather(1, targets[:, None])[:, 0]


def real_elements(z: Tensor) -> Tensor:
    """1 where z holds a real token, 0 behind the end of shorter texts; broadcasts over z."""
    if isinstance(z, Latent):
        return z.valid[..., None].to(z.dtype)
    return torch.ones(1, device=z.device)


def own_noise(z: Tensor, copies: int, seed: int):
    """A function that draws the next step's standard normal noise, (B, copies, ...) shaped as z
    behind that.

    Every sample draws one block (copies, tokens, width) a step from a CPU generator of its own, all
    with one seed, so that its noise does not depend on the rest of the batch, and is that of
    torch's global generator after `manual_seed(seed)`.
    """
    is_text = isinstance(z, Latent)
    lengths = z.valid.sum(1).tolist() if is_text else [z.shape[1]] * len(z)
    generators = [torch.Generator().manual_seed(seed) for _ in lengths]

    def draw() -> Tensor:
        noise = torch.zeros(len(z), copies, *z.shape[1:])
        for block, length, generator in zip(noise, lengths, generators):
            block[:, :length] = torch.randn(copies, length, *z.shape[2:], generator=generator)
        return noise.to(z)

    return draw


@torch.enable_grad()
def optimise_gates(
    encoder,
    z,
    fit,
    draw,
    *,
    like=None,
    copies,
    beta,
    sigma,
    steps,
    lr,
    chunk,
    what,
    smooth=lambda gate: gate,
    weights=(),
    clip=None,
):
    """Minimise beta mean KL - fit over lambda = smooth(sigmoid(a)), a = 5 at the start, one gate
    per element of z.

    z       the features, in the units of the noise;  its samples share no term of the loss, so that
    one Adam serves all
    fit     (r rows z', the samples i they stem from) -> (r,), what a z' that passed the gate is
            worth
    draw    the next step's noise, (B, copies, ...) shaped as z behind that
    like    the prefix's own features where z is not they, as in Split
    beta    a number, or a function (*weights) -> (B,), one for each sample
    smooth  gates (b, ...) -> gates (b, ...), sample by sample
    weights what such a beta has to learn, each (B, ...), in the same Adam as the gates
    clip    the most that the norm of a sample's gradient, gates and weights together, may have;
            None: anything
    Returns the KL of every element at the last forward pass in nats, shaped as z, and the trace of
    loss, fit, kl, gate (both means over a sample's own elements) and, of a function, beta, each
    (steps, B).
    """
    free = [torch.full_like(z, 5.0), *weights]
    adam, history = torch.optim.Adam(free, lr=lr), []
    real = real_elements(z if like is None else like)
    for step in progress(range(steps), what):
        eps = draw().expand(len(z), copies, *z.shape[1:])
        leaves = [t.clone().requires_grad_() for t in free]
        gate = smooth(leaves[0].sigmoid())
        passed = information(z, gate, sigma) * real
        size = real.expand_as(z).flatten(1).sum(1)  # (B,) a sample's own elements
        share, opening = (v.flatten(1).sum(1) / size for v in (passed, gate * real))
        price = beta(*leaves[1:]) if callable(beta) else beta
        grad, *others = torch.autograd.grad((price * share).sum(), leaves)
        worth = torch.zeros(len(z), device=z.device)
        for rows in row_groups(encoder, len(z), copies, chunk):
            i = rows // copies
            own, place = i.unique(
                return_inverse=True
            )  # the samples that this group holds copies of
            leaf = free[0][own].requires_grad_()
            value = (
                fit(
                    compressed(z[i], smooth(leaf.sigmoid())[place], eps[i, rows % copies], sigma), i
                )
                / copies
            )
            (slope,) = torch.autograd.grad(-value.sum(), leaf)
            if step == 0:
                check_slope(encoder, z, slope)
            grad = grad.index_add(0, own, slope)
            worth = worth.index_add(0, i, value.detach())
        now = [price * share - worth, worth, share, opening] + [price] * callable(beta)
        history.append(torch.stack([t.detach() for t in now]))
        for t, g in zip(free, [grad, *others] if clip is None else clipped([grad, *others], clip)):
            t.grad = g
        adam.step()
    names = ("loss", "fit", "kl", "gate", "beta")
    return passed.detach(), dict(zip(names, torch.stack(history, 1).cpu()))


def clipped(grads: list[Tensor], most: float) -> list[Tensor]:
    """Gradients (B, ...), those of each sample scaled to a common norm of at most `most`, as
    `clip_grad_norm_` does for one."""
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)  # (B,)
    scale = (most / (norm + 1e-6)).clamp(max=1)
    return [g * scale.view(-1, *[1] * (g.ndim - 1)) for g in grads]
