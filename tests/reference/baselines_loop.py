"""The baselines word for word: one sample, one mask, one step and one scalar formula at a time."""

import itertools
import math

import torch
import torch.nn.functional as F


def mfaba_loop(s, x, *, steps, rate):
    """s: tensor shaped as x -> score; x one sample -> contributions shaped as x, not yet summed
    over channels."""
    total = torch.zeros_like(x)
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(s(leaf), leaf)
        following = x - rate * torch.sign(g)
        total = total + (x - following) * g
        x = following
    return total


def rise_loop(s, x, *, masks, cells, p, seed):
    """s: image (3, H, W) -> score; the grids and shifts in the order in which the kit draws
    them."""
    height, width = x.shape[-2:]
    draws = torch.rand(masks, cells * cells + 2, generator=torch.Generator().manual_seed(seed))
    down, right = math.ceil(height / cells), math.ceil(width / cells)
    total = torch.zeros(height, width)
    for draw in draws:
        bits = (draw[2:] < p).float().reshape(1, 1, cells, cells)
        large = F.interpolate(
            bits, size=((cells + 1) * down, (cells + 1) * right), mode="bilinear"
        )[0, 0]
        top, left = int(draw[0] * down), int(draw[1] * right)
        m = large[top : top + height, left : left + width]
        total += s(x * m) * m
    return total / (masks * p)


def sbsm_loop(s, x, *, window, stride):
    height, width = x.shape[-2:]
    drop, covered = torch.zeros(height, width), torch.zeros(height, width)
    for top in range(0, height - window + stride, stride):
        for left in range(0, width - window + stride, stride):
            hidden = x.clone()
            hidden[:, top : top + window, left : left + window] = 0
            drop[top : top + window, left : left + window] += s(x) - s(hidden)
            covered[top : top + window, left : left + window] += 1
    return drop / covered


def shapley_values(v, players):
    """v: set of players -> number; the definition, a sum over all coalitions without the player."""
    values = []
    for player in range(players):
        others, value = [q for q in range(players) if q != player], 0.0
        for size in range(players):
            weight = (
                math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            )
            for coalition in itertools.combinations(others, size):
                value += weight * (v({*coalition, player}) - v({*coalition}))
        values.append(value)
    return torch.tensor(values)


def grad_cam_loop(s, z, *, pool):
    """s: (C, h, w) -> score -> (h, w), channel by channel."""
    leaf = z.clone().requires_grad_()
    (g,) = torch.autograd.grad(s(leaf), leaf)
    total = torch.zeros(z.shape[1:])
    for channel, slope in zip(z, g):
        total += (slope.mean() if pool else slope) * channel
    return torch.relu(total)


def iba_loop(fit, z, *, beta, steps, lr, copies, seed, smooth):
    """fit: (C, h, w) -> log probability or cosine -> KL in bits (C, h, w) at the last forward pass,
    and the losses."""
    mu, s = z.mean((1, 2), keepdim=True), z.std((1, 2), keepdim=True, correction=0).clamp(min=0.01)
    a = torch.full(z.shape, 5.0, requires_grad=True)
    adam, losses = torch.optim.Adam([a], lr=lr), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        gate = blur(torch.sigmoid(a), smooth)
        noise = torch.randn(copies, *z.shape, generator=generator) * s + mu
        prior = torch.distributions.Normal(mu.expand_as(z), s.expand_as(z))
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(gate * z + (1 - gate) * mu, (1 - gate) * s), prior
        )
        loss = beta * kl.mean() - sum(fit(gate * z + (1 - gate) * e) for e in noise) / copies
        (a.grad,) = torch.autograd.grad(loss, [a])
        adam.step()
        losses.append(loss.item())
    return kl.detach() / math.log(2), losses


def blur(gate, sigma):
    """Every cell the mean of all cells of its channel with weights exp(-distance^2 / (2
    sigma^2))."""
    if not sigma:
        return gate
    rows, columns = torch.meshgrid(*map(torch.arange, gate.shape[1:]), indexing="ij")
    out = []
    for r in range(gate.shape[1]):
        for c in range(gate.shape[2]):
            weight = torch.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * sigma**2))
            out.append((gate * weight).sum((1, 2)) / weight.sum())
    return torch.stack(out, 1).reshape(gate.shape)


def ibisa_loop(score, fit, x, *, grids, steps, beta, phi, lr):
    """score, fit: image (3, H, W) -> number; grids (N, h, w) the sampled ones -> mask (H, W)."""
    k = x.numel()

    def mask(g):
        return torch.sigmoid(F.interpolate(g[None, None], size=x.shape[1:], mode="bicubic"))[0, 0]

    values = torch.stack([score(x * mask(g)).detach() for g in grids])
    weights = (values - values.mean()) / values.std(correction=0)
    g = sum(w * one for w, one in zip(weights, grids)) / len(grids)
    g.requires_grad_()
    adam = torch.optim.Adam([g], lr=lr)
    for _ in range(steps):
        m = mask(g)
        tv = (m[1:] - m[:-1]).abs().sum() + (m[:, 1:] - m[:, :-1]).abs().sum()
        loss = beta / k * m.sum() + phi / k * tv - fit(x * m)
        (g.grad,) = torch.autograd.grad(loss, [g])
        adam.step()
    return mask(g).detach()
