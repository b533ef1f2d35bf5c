"""Rules that pass relevance from outputs to inputs (Chefer et al., CVPR 2021).

R is the relevance, of the shape of what it belongs to; rules keep its sum but for what biases and
terms of the other sign would take.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.enable_grad()
def positive_shares(f, x: Tensor) -> Tensor:
    """The relevance 1 of a linear f(x), (b,), shared by the positive terms of x df/dx; 0 without
    any."""
    x = x.detach().requires_grad_()
    (w,) = torch.autograd.grad(f(x).sum(), x)
    terms = (x.detach() * w).clamp(min=0)
    total = terms.flatten(1).sum(1).view(-1, *[1] * (x.ndim - 1))
    return torch.where(total > 0, terms / total, 0)


def linear(x: Tensor, weight: Tensor, r: Tensor) -> Tensor:
    """Eq. 4: every output's relevance goes to the inputs whose terms x_j w_ij are positive, in
    proportion."""
    x, weight = x.to(r), weight.to(r)
    parts = [(x.clamp(min=0), weight.clamp(min=0)), (x.clamp(max=0), weight.clamp(max=0))]
    s = divided(r, sum(F.linear(part, w) for part, w in parts))
    return sum(part * (s @ w) for part, w in parts)


def shared(u: Tensor, v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 5, 8 and 9 for u + v."""
    u, v = u.to(r), v.to(r)
    s = divided(r, u + v)
    return balanced(u * s, v * s, r)


def product(u: Tensor, v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 5, 8 and 9 for the matrix product u v."""
    u, v = u.to(r), v.to(r)
    s = divided(r, u @ v)
    return balanced(u * (s @ v.mT), v * (u.mT @ s), r)


def balanced(r_u: Tensor, r_v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Scale two relevances so that together they are as much as r, each as much as its absolute sum
    says."""
    axes = tuple(range(1, r.ndim))
    sums = [part.sum(axes, keepdim=True) for part in (r_u, r_v)]
    whole = r.sum(axes, keepdim=True) / (sums[0].abs() + sums[1].abs()).clamp(min=1e-12)
    return tuple(
        part * divided(total.abs() * whole, total) for part, total in zip((r_u, r_v), sums)
    )


def divided(a: Tensor, b: Tensor) -> Tensor:
    """a / b, kept finite where b is next to 0."""
    return a / (b + torch.where(b < 0, -1e-9, 1e-9))
