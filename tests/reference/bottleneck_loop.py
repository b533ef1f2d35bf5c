"""M2IB and NIB one pair, one step and one scalar formula at a time, through the encoder's own
blocks."""

import torch


def cosine(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


def m2ib_loop(suffix, z, target, *, beta, steps, lr, copies, noise, seed=0, sigma=1.0):
    """z (1, T, width), target (D,) -> KL (T, width) of the last forward, and per step loss, cosine,
    mean KL, mean gate."""
    a = torch.full(z.shape[1:], 5.0, requires_grad=True)
    adam = torch.optim.Adam([a], lr=lr)
    torch.manual_seed(seed)
    trace = []
    for _ in range(steps):
        gate = 1 / (1 + torch.exp(-a))
        eps = torch.randn(copies, *z.shape[1:]) if noise else torch.zeros(copies, *z.shape[1:])
        mean, deviation = gate * z[0], (1 - gate) * sigma
        kl = -0.5 * (1 + torch.log(deviation**2) - mean**2 - deviation**2)
        match = sum(cosine(suffix((mean + deviation * e)[None])[0], target) for e in eps) / copies
        loss = beta * kl.mean() - match
        adam.zero_grad()
        (a.grad,) = torch.autograd.grad(loss, [a])
        adam.step()
        trace.append((loss.item(), match.item(), kl.mean().item(), gate.mean().item()))
    return kl.detach(), trace


def nib_loop(suffix, z, target, *, steps):
    """z (1, ...), target (D,) -> scores shaped as z[0], not yet summed over channels."""
    scores = torch.zeros_like(z[0])
    for k in range(1, steps + 1):
        x = (k / steps * z).detach().requires_grad_()
        (g,) = torch.autograd.grad(cosine(suffix(x)[0], target), x)
        scores += g[0] * z[0] / steps
    return scores
