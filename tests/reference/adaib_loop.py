"""AdaIB for one pair, from its formulas: a module for g, one loss, one Adam, one clipped gradient a
step."""

import torch
from torch import nn

from .bottleneck_loop import cosine

NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Linear(1, 1)),
    "mlp": lambda: nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1)),
    "8-8-relu": lambda: nn.Sequential(
        nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)
    ),
    "64-64-relu": lambda: nn.Sequential(
        nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    ),
    "32-32-identity": lambda: nn.Sequential(nn.Linear(1, 32), nn.Linear(32, 32), nn.Linear(32, 1)),
    "32-32-tanh": lambda: nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    ),
}


def relevance(e, t, f, tau, normalise):
    if normalise:
        e, t = e / e.norm(), t / t.norm()
    if f == "inverse-l1":
        return 1 / (sum(abs(a - b) for a, b in zip(e.tolist(), t.tolist())) + 1e-6)
    if f == "inverse-l2":
        return 1 / (sum((a - b) ** 2 for a, b in zip(e.tolist(), t.tolist())) ** 0.5 + 1e-6)
    if f == "inverse-linf":
        return 1 / (max(abs(a - b) for a, b in zip(e.tolist(), t.tolist())) + 1e-6)
    if f == "cosine":
        return torch.log(1 + torch.exp(tau * (1 + cosine(e, t)) / 2)).item() + 1e-6
    return f


def adaib_loop(
    suffix,
    z,
    target,
    *,
    f,
    g,
    steps,
    lr,
    copies,
    noise,
    clip=1.0,
    seed=0,
    sigma=1.0,
    tau=1.0,
    beta=0.1,
    normalise=True,
):
    """z (1, ...), target (D,) -> KL, shaped as z[0], of the last forward, and per step loss,
    cosine, mean KL, f, g."""
    torch.manual_seed(seed)
    net = NETWORKS[g]() if g in NETWORKS else nn.Sequential()
    f = relevance(suffix(z)[0], target, f, tau, normalise)
    a = torch.full(z.shape[1:], 5.0, requires_grad=True)
    adam = torch.optim.Adam([a, *net.parameters()], lr=lr)
    torch.manual_seed(seed)
    trace = []
    for _ in range(steps):
        if g in NETWORKS:
            price = 1e-6 + torch.log(1 + torch.exp(net(torch.tensor([f]))[0]))
        else:
            price = torch.tensor({"closed": 1 / (f + 1e-6), "scaled": beta / (f + 1e-6)}.get(g, g))
        gate = 1 / (1 + torch.exp(-a))
        eps = torch.randn(copies, *z.shape[1:]) if noise else torch.zeros(copies, *z.shape[1:])
        mean, deviation = gate * z[0], (1 - gate) * sigma
        kl = -0.5 * (1 + torch.log(deviation**2) - mean**2 - deviation**2)
        match = sum(cosine(suffix((mean + deviation * e)[None])[0], target) for e in eps) / copies
        loss = price * kl.mean() - f * match
        adam.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([a, *net.parameters()], clip)
        adam.step()
        trace.append((loss.item(), match.item(), kl.mean().item(), f, price.item()))
    return kl.detach(), trace
