"""What AdaIB's studies measure beside the metrics of maps, and methods that only they need.

A measure takes the place of a pair among `samples()`, whose caption belongs to its picture unless
it was swapped, and returns rows; their column `modality` says which side is explained.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import methods as m
from .. import metrics
from ..cases import Cases, cases
from ..match import match
from ..methods.adaib import compression, relevance
from ..methods.bottleneck import clipped, compressed, information
from ..metrics.base import SIDES
from ..metrics.cost import peak, timed
from ..models import load_model
from ..scoring import attribution
from ..types import Attribution, Encoder
from . import sets

load = cache(load_model)

BETA = 0.1  # M2IB's, and that of the scaled g
DEPTH = 10 / 12  # where M2IB and AdaIB put their bottleneck
EARLIER = 9 / 12  # the block before it
SCALED = "adaib, scaled"
OURS = {"adaib": partial(m.adaib, g="mlp"), SCALED: partial(m.adaib, g="scaled"), "m2ib": m.m2ib}
FS = {"l1": "inverse-l1", "l2": "inverse-l2", "chebyshev": "inverse-linf", "cosine": "cosine"}
NETS = {  # Table 7's names; 1-32-1-relu is the paper's g
    "1-1": "linear",
    "1-32-1-relu": "mlp",
    "1-8-8-1-relu": "8-8-relu",
    "1-64-64-1-relu": "64-64-relu",
    "1-32-32-1-none": "32-32-identity",
    "1-32-32-1-tanh": "32-32-tanh",
}
PAIRED = {"closed": partial(m.adaib, g="closed")}  # beside OURS on matched and swapped pairs
STEPS = 10  # of Adam, the paper's
FORCED = (0.001, 0.3, 1.0, 3.0, 10.0, 1000.0, math.inf)  # f, with g = 1 / f; inf: no compression
PRICES = (0.3, 0.1)  # of a nat, dear and cheap
STARTS = 3  # of the networks for g
CONSTANTS = ((1.0, 1.0), (10.0, 1.0), (1000.0, 1.0), (1000.0, None))  # f = g / beta, clipping
COPIES = 2  # where two methods get the same noise, whose amount does not matter
NEAREST = 1e-3  # of the cosine: as good a match


def flat_map(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """1 at every place: a map that marks nothing."""
    a = m.random_map(encoder, inputs, targets)
    return replace(a, map=0 * a.map + 1, signed=False)


@metrics.base.metric("match", higher_is_better=True, needs=("whole",), sides=SIDES)
def untouched_match(
    encoder: Encoder, inputs, targets: Tensor, map: Tensor, *, whole: Tensor
) -> Tensor:
    """The cosine of the untouched pair, (B,), whatever the map."""
    return match(encoder, whole, targets).float().cpu()


def earlier(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """AdaIB one block earlier."""
    return m.adaib(encoder, inputs, targets, noise=False, layer=encoder.layer_at(EARLIER))


def by_distance(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """AdaIB with the distance itself as f, as the paper's words have it, and the scaled g, of one
    pair."""
    with torch.no_grad():
        pair = [F.normalize(h, dim=1) for h in (encoder(inputs), targets)]
        f = (pair[0] - pair[1]).norm().item()
    return m.adaib(encoder, inputs, targets, f=f, g=BETA / f, noise=False)


def levelled(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    pairs: Callable[[], tuple[Tensor, Tensor]],
    f: str = "inverse-l2",
    normalise: bool = True,
) -> Attribution:
    """AdaIB with a scaled g whose beta gives some pairs the mean g / f that the default has.

    pairs  () -> their embeddings, (n, D) each
    """
    beta = mean_price(pairs) * BETA / mean_price(pairs, f, normalise)
    return m.adaib(encoder, inputs, targets, f=f, normalise=normalise, beta=beta, noise=False)


def mean_price(pairs: Callable, f: str = "inverse-l2", normalise: bool = True) -> float:
    """The mean g / f of a scaled g over some pairs."""
    h, e = pairs()
    return BETA * relevance([h], e, f, tau=1.0, normalise=normalise).pow(-2).mean().item()


def learned_f(
    encoder: Encoder, inputs, targets: Tensor, *, g: str, fixed: bool = False, seed: int = 0
) -> Attribution:
    """AdaIB without noise whose f, too, is learned in the same Adam: eps + softplus(network(1 /
    L2)), the network that of the paper's g.

    g      "mlp" or "scaled"; both see the f that is not learned
    fixed  f is not learned, which makes it `adaib`
    """
    split = encoder.split(encoder.layer_at(DEPTH))
    with torch.no_grad():
        z = split.prefix(inputs)
        h = split.suffix(z, like=z)
        given = relevance([h], targets, "inverse-l2", tau=1.0, normalise=True)  # (B,)
    f_of, wf = (lambda: given, []) if fixed else compression("mlp", given, BETA, seed + 1)
    g_of, wg = compression(g, given, BETA, seed)
    free = [torch.full_like(z, 5.0), *wf, *wg]
    adam = torch.optim.Adam(free, lr=1.0)
    for _ in range(STEPS):
        leaves = [t.clone().requires_grad_() for t in free]
        gate, f = leaves[0].sigmoid(), f_of(*leaves[1 : 1 + len(wf)])
        passed = information(z, gate, 1.0)
        fit = F.cosine_similarity(split.suffix(gate * z, like=z), targets)  # (B,)
        loss = g_of(*leaves[1 + len(wf) :]) * passed.flatten(1).mean(1) - f * fit  # Eq. 2
        for t, grad in zip(free, clipped(list(torch.autograd.grad(loss.sum(), leaves)), 1.0)):
            t.grad = grad
        adam.step()
    map = split.to_map(passed.detach().sum(split.channel_dim), like=z).float().cpu()
    return Attribution(map=map, unit="nats", signed=False, trace={"f": f.detach().cpu()[None]})


def pair(model: str, samples: Callable, unit: int, side: str = "image") -> Cases:
    return cases(load(model), [samples()[unit]], modality=side)


def known_of(c: Cases) -> dict:
    return dict(model=c.model.name, modality=c.modality, sample=c.names[0], cluster=c.clusters[0])


def explained(method: Callable, c: Cases) -> Attribution:
    return attribution("method", method, c)


def ends(unit: int, *, model: str, samples: Callable, more: bool = False) -> list[dict]:
    """Where methods end on a pair: the total of the raw map and that of its absolute values, and of
    bottlenecks the last nats per element, cosine and loss, f and g. `grade` is what people say of
    the pair, where they were asked.

    more  also of the closed g, and of M2IB at the mean price of the scaled g over the same pairs
    """
    methods = OURS | {"nib": m.nib, "grad-cam": m.grad_cam, "random": m.random_map}
    if more:
        level = mean_price(partial(sets.embedded, model, samples))
        methods |= PAIRED | {"m2ib, mean price": partial(m.m2ib, beta=level)}
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        grade = c.samples[0].grade
        told = known_of(c) | dict(matched=bool(c.matched[0]), cosine=c.match.item())
        told |= dict(grade=math.nan if grade is None else float(grade))
        for name, method in methods.items():
            a = explained(method, c)
            row = told | dict(method=name, total=a.map.sum(), absolute=a.map.abs().sum())
            last = {k: a.trace[k][-1] if k in a.trace else math.nan for k in TRACED}
            rows.append(row | last)
    return rows


TRACED = ("kl", "fit", "loss", "f", "g")


def weights(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """What choices of f and g do to the trade-off at every step, image side, no noise. `held`: the
    paper's g kept at where it starts."""
    c = pair(model, samples, unit)
    options = {f"{k}, {g}": dict(f=f, g=g) for g in ("mlp", "scaled") for k, f in FS.items()}
    options |= {k: dict(g=g) for k, g in NETS.items() if g != "mlp"} | {"closed": dict(g="closed")}
    traces = {k: m.adaib(*called(c), noise=False, **how).trace for k, how in options.items()}
    start = traces["l2, mlp"]["g"][0].item()
    traces["held"] = m.adaib(*called(c), noise=False, g=start).trace
    return [
        known_of(c) | dict(method=name, step=step + 1) | {k: t[k][step] for k in TRACED}
        for name, t in traces.items()
        for step in range(STEPS)
    ]


def called(c: Cases) -> tuple:
    return c.encoder, c.inputs, c.targets


def stability(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Rank correlations of maps with noise: the mean over each two of the four f (`across`), and of
    two seeds' maps with the gradients clipped (`seeds`) and not (`unclipped`), with the mean final
    loss of these."""
    rows = []
    for side, networks in (("image", ("mlp", "scaled")), ("text", ("mlp",))):
        c = pair(model, samples, unit, side)
        for g in networks:
            run = partial(m.adaib, *called(c), g=g, seed=unit)
            of_f = {k: run(f=f) for k, f in FS.items()}
            two = [of_f["l2"], run(seed=unit + OTHER)]
            free = [run(clip=None), run(clip=None, seed=unit + OTHER)]
            row = known_of(c) | dict(network=g, across=alike(of_f.values()))
            row |= dict(seeds=alike(two), unclipped=alike(free))
            row |= dict(loss=last_loss(two), unclipped_loss=last_loss(free))
            row |= dict(quiet=alike([of_f["l2"], run(noise=False)]))
            rows.append(row)
    return rows


OTHER = 10_000  # from one seed of a pair to its other


def alike(runs: Iterable[Attribution]) -> float:
    found = [metrics.rank_correlation(a.map, b.map).item() for a, b in combinations(runs, 2)]
    return sum(found) / len(found)


def last_loss(runs: list[Attribution]) -> float:
    return sum(a.trace["loss"][-1].item() for a in runs) / len(runs)


def constants(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """AdaIB with constant weights against M2IB with the same noise: the largest difference of the
    maps in nats and of the traces, and the rank correlation of the maps."""
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        b = m.m2ib(*called(c), copies=COPIES, seed=unit)
        for f, clip in CONSTANTS:
            how = dict(f=f, g=BETA * f, clip=clip, copies=COPIES, seed=unit)
            a = m.adaib(*called(c), **how)
            trace = a.trace | {"loss": a.trace["loss"] / f}
            rows.append(
                known_of(c)
                | dict(side=side, f=f, clip=str(clip), maps=largest(a.map - b.map))
                | dict(most=largest(b.map), correlation=alike([a, b]))
                | dict(traces=max(largest(trace[k] - v) for k, v in b.trace.items()))
            )
    return rows


def largest(values: Tensor) -> float:
    return values.abs().max().item()


def limits(unit: int, *, model: str, samples: Callable, long: int) -> list[dict]:
    """Nats per element and cosine of a picture with f forced and g = 1 / f, after the paper's
    steps, after `long`, which stand for convergence, and ten before that."""
    c = pair(model, samples, unit)
    f = torch.tensor([1.0 if f == math.inf else f for f in FORCED])
    g = torch.tensor([1 / f for f in FORCED])
    fit, kl, _ = walk(c, f, g, long)
    return [
        known_of(c) | dict(f=forced, steps=step, kl=kl[step - 1, i], fit=fit[step - 1, i])
        for step in (STEPS, long - 10, long)
        for i, forced in enumerate(FORCED)
    ]


def walk(c: Cases, f: Tensor, g: Tensor, steps: int) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """AdaIB without noise on one picture with weights f and g (B,) of its copies: fit and KL
    (steps, B), and the logits of the gates after each step, (B, ...)."""
    split = c.encoder.split(c.encoder.layer_at(DEPTH))
    with torch.no_grad():
        z = split.prefix(c.inputs)
        z = z.repeat(len(f), *[1] * (z.ndim - 1))
    a = torch.full_like(z, 5.0)
    adam, path, logits = torch.optim.Adam([a], lr=1.0), [], {}
    for step in range(1, steps + 1):
        leaf = a.clone().requires_grad_()
        gate = leaf.sigmoid()
        kl = information(z, gate, 1.0).flatten(1).mean(1)  # (B,)
        fit = F.cosine_similarity(split.suffix(compressed(z, gate, 0.0, 1.0)), c.targets)
        (a.grad,) = torch.autograd.grad((g * kl - f * fit).sum(), leaf)  # Eq. 2
        logits[step] = leaf.detach()
        adam.step()
        a.clamp_(max=12)  # float32 cannot tell a wider gate from 1, and log(1 - 1) has no gradient
        path.append((fit.detach(), kl.detach()))
    return *map(torch.stack, zip(*path)), logits


def rivals(unit: int, *, model: str, samples: Callable, long: int) -> list[dict]:
    """What AdaIB's gates let through of a picture at constant prices, and the fewest nats with
    which shifted gates of other kinds match as well, infinite where they do not."""
    c = pair(model, samples, unit)
    prices = torch.tensor([*PRICES, 0.0])
    fit, kl, logits = walk(c, torch.ones(len(prices)), prices, long)
    generator, rows = torch.Generator().manual_seed(unit), []
    for steps in (STEPS, long):
        for i, price in enumerate(PRICES):
            gates = logits[steps][i]
            shuffled = torch.randperm(gates.numel(), generator=generator)
            others = {
                "one gate": 0 * gates,
                "random": 3 * torch.randn(gates.shape, generator=generator),
                "shuffled": gates.flatten()[shuffled].view_as(gates),
                "fitted without a price": logits[steps][-1],
            }
            told = known_of(c) | dict(steps=steps, price=price, ours=kl[steps - 1, i])
            for rival, a in others.items():
                theirs = cheapest(c, a, fit[steps - 1, i].item())
                rows.append(told | dict(rival=rival, theirs=theirs))
    return rows


@torch.no_grad()
def cheapest(c: Cases, a: Tensor, target: float) -> float:
    """The least mean KL over shifts of the logits a whose match reaches the target, or infinity."""
    split = c.encoder.split(c.encoder.layer_at(DEPTH))
    z, low, high, found = split.prefix(c.inputs), -10.0, 10.0, math.inf
    for _ in range(3):  # finer and finer grids
        shifts = torch.linspace(low, high, 11)
        gate = (a + shifts.view(-1, *[1] * a.ndim)).sigmoid().clamp(max=1 - 1e-6)
        fit = F.cosine_similarity(split.suffix(compressed(z, gate, 0.0, 1.0)), c.targets)
        kl = information(z, gate, 1.0).flatten(1).mean(1)
        able = fit >= target - NEAREST
        if not able.any():
            break
        k = torch.where(able, kl, torch.inf).argmin()
        found = min(found, kl[k].item())
        low, high = shifts[max(k - 1, 0)].item(), shifts[k].item()
    return found


def starts(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """The learned g of a picture with f = 1 after each of some steps, from several starts."""
    c = pair(model, samples, unit)
    rows = []
    for g in ("mlp", "linear"):
        for start in range(STARTS):
            trace = m.adaib(*called(c), f=1.0, g=g, noise=False, seed=start).trace["g"]
            told = known_of(c) | dict(network=g, start=start)
            rows += [told | dict(steps=step, g=trace[step - 1]) for step in (1, 2, STEPS)]
    return rows


def costs(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """What a pair's two maps cost: seconds, of the CPU where there is no GPU, so that a busy
    machine is fair to all; and in MiB the weights and what a call for an image holds beyond
    them."""
    both = {side: pair(model, samples, unit, side) for side in SIDES}
    c, methods = both["image"], OURS | {"nib": m.nib}
    weights = [p for tower in (c.model.image, c.model.text) for p in tower.weights.values()]
    size = sum(p.numel() * p.element_size() for p in weights)
    first, rows = unit % len(methods), []
    for name in [*methods][first:] + [*methods][:first]:  # each is first in its turn
        seconds = sum(spent(methods[name], some) for some in both.values())
        _, held = peak(partial(explained, methods[name], c), c.encoder.device)
        row = dict(method=name, seconds=seconds, memory=(size + held) / 2**20)
        rows.append(known_of(c) | row)
    return rows


def spent(method: Callable, c: Cases) -> float:
    begin, device = time.process_time(), c.encoder.device
    seconds, _ = timed(partial(explained, method, c), device)
    return time.process_time() - begin if device.type == "cpu" else seconds
