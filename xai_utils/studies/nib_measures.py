"""What NIB's studies measure of a picture and its caption beside the metrics of their maps.

Each function takes the place of a sample among `samples()`, whose caption belongs to its picture,
and returns rows; their column `side` says which of the two is explained.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import methods as m
from .. import metrics
from ..cases import Cases, cases
from ..metrics.base import SIDES
from ..metrics.cost import timed
from ..models import load_model, wrap
from ..scoring import attribution
from ..types import Attribution, Encoder, Parts

load = cache(load_model)

# The paper's eight methods; where it is silent, as in NIB's repository.
METHODS = {
    "nib": m.nib,
    "m2ib": m.m2ib,
    "rise": m.rise,
    "grad-cam": m.grad_cam,
    "chefer": m.chefer,
    "saliency": m.saliency,
    "mfaba": partial(m.mfaba, layer=0),
    "fast-ig": m.fast_ig,
}
FIRST = {"nib": 9, "m2ib": 10, "grad-cam": 10}  # the block of 12 where a method works, else 0
NIB_AT = 9 / 12

COUNTS = (1, 2, 5, 10, 20, 50, 100)  # nodes of a sum, among those of the finest one
FINEST = 200
PATH = 100  # intervals of the path whose match is kept
GATES, SIGMAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (1.0, 0.1, 0.01, 0.001, 0.0001)
DRAWS, AT_ONCE = 4096, 256  # of the noise, so that chance is far below 1 %
REMOVED, CHOICES = 5, 10  # cells taken away, a tenth of 7 x 7; how often random ones are drawn
SEEDS = 3  # of M2IB
BETA, ENDS = 0.1, (0.01, 0.9)  # M2IB's own, and those of Table 5
JITTER = 0.1  # noise on the picture, in units of the normalised image
CELLS = 7  # a side, to which maps are averaged before they are compared under noise


def positive_nib(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """NIB's map with its negative scores set to 0."""
    a = m.nib(encoder, inputs, targets)
    return replace(a, map=a.map.clamp(min=0), signed=False)


def half_map(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """0.5 at every place: a map that says nothing."""
    a = m.random_map(encoder, inputs, targets)
    return replace(a, map=0 * a.map + 0.5)


def nib_at(encoder: Encoder, inputs, targets: Tensor, *, twelfths: int) -> Attribution:
    """NIB in front of block `twelfths` of 12, at the same share of other depths."""
    return m.nib(encoder, inputs, targets, layer=encoder.layer_at(twelfths / 12))


def pair(model: str, samples: Callable, unit: int, side: str = "image", n: int = 1) -> Cases:
    """The case of a sample, with n - 1 more in its batch: those behind it, the first ones behind
    the last. Raises IndexError where there is no such sample."""
    found = samples()
    some = [found[unit], *(found[(unit + i) % len(found)] for i in range(1, n))]
    return cases(load(model), some, modality=side)


def explained(method: Callable, c: Cases) -> Attribution:
    return attribution("method", method, c)


def walk(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """NIB's path. Of each side the match at evenly spaced gates `at`; and of each count of nodes
    the total of all scores, special tokens included, beside the change of the match that they share
    out, the map's rank correlation with that of most nodes, and the share of places with another
    sign; total and correlation also of the sum at midpoints, where these were walked."""
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        path = m.nib_path(c.encoder, c.inputs, c.targets, counts=(FINEST,))
        match = path.similarity[:: FINEST // PATH, 0].tolist()
        rows += [dict(side=side, at=k / PATH, similarity=s) for k, s in enumerate(match)]
        last, change = path.map(FINEST), path.change.item()
        for n in (*COUNTS, FINEST):
            row = dict(side=side, nodes=n, change=change, unlike=unlike(path.map(n), last))
            row |= dict(total=path.scores(n).sum().item(), correlation=alike(path.map(n), last))
            middle = dict(middle_total=math.nan, middle_correlation=math.nan)
            if FINEST % (2 * n) == 0:
                middle["middle_total"] = path.scores(n, midpoints=True).sum().item()
                middle["middle_correlation"] = alike(path.map(n, midpoints=True), last)
            rows.append(row | middle)
    return rows


def unlike(map: Tensor, other: Tensor) -> float:
    """The share of places with another sign."""
    there = ~other.isnan()
    return (map.sign() != other.sign())[there].float().mean().item()


def alike(a: Tensor, b: Tensor) -> float:
    return metrics.rank_correlation(a, b).item()


def theorems(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Theorems 1 and 2 on the features of a picture. Of each noise and gate the divergence in nats,
    by its closed form and sampled; of each noise the gap between the gates 1 and 0.9, and the
    correlation of the map with noise with the one without."""
    c = pair(model, samples, unit)
    split = c.encoder.split(c.encoder.layer_at(NIB_AT))
    with torch.no_grad():
        z = split.prefix(c.inputs)
    noise = torch.Generator().manual_seed(unit)
    sampled = sampled_divergences(z, noise)
    rows = [
        dict(sigma=s, gate=gate, closed=divergence(z, gate, s), sampled=sampled[gate, s])
        for s in SIGMAS[:3]
        for gate in GATES
    ]
    clean = explained(m.nib, c).map.flatten()
    for s in SIGMAS:
        noisy = split.to_map(noisy_scores(c, split, z, s, noise)).flatten()
        near = torch.corrcoef(torch.stack([noisy, clean]))[0, 1].item()
        gap = divergence(z, 1, s) - divergence(z, 0.9, s)
        rows.append(dict(sigma=s, gap=gap, correlation=near))
    return rows


def divergence(z: Tensor, gate: float, sigma: float) -> float:
    """KL(N(gate z, sigma^2) || N(0, sigma^2)) = gate^2 ||z||^2 / (2 sigma^2), in nats (NIB,
    Theorem 1)."""
    return gate**2 * z.double().square().sum().item() / (2 * sigma**2)


def sampled_divergences(z: Tensor, noise: torch.Generator) -> dict[tuple[float, float], float]:
    """(gate, sigma) -> the mean of log p/q over draws of gate z + eps; all from the same draws."""
    total = dict.fromkeys([(gate, s) for gate in GATES for s in SIGMAS[:3]], 0.0)
    for _ in range(DRAWS // AT_ONCE):
        eps = torch.randn(AT_ONCE, *z.shape[1:], generator=noise, dtype=torch.double)
        for gate, s in total:
            drawn = gate * z.double() + s * eps
            ratio = (drawn.square() - (s * eps).square()).sum() / (2 * s**2)
            total[gate, s] += ratio.item() / DRAWS
    return total


def noisy_scores(c: Cases, split, z: Tensor, sigma: float, noise: torch.Generator) -> Tensor:
    """NIB's sum of ten nodes with noise of size sigma at each (Theorem 2)."""
    total, steps = torch.zeros_like(z), 10
    for k in range(1, steps + 1):
        y = (k / steps * z + sigma * torch.randn(z.shape, generator=noise)).requires_grad_()
        s = F.cosine_similarity(split.suffix(y, like=z), c.targets)
        total = total + torch.autograd.grad(s.sum(), y)[0] * z / steps
    return total.sum(split.channel_dim)


def planted(unit: int) -> list[dict]:
    """Encoders whose embedding is read off one of 4 x 4 cells: the largest score of a cell without
    influence (for MFABA their sum), and the score of the one that decides."""
    x, h = 2 * torch.ones(1, 3, 32, 32), torch.tensor([[1.0, 0.0]])
    reads = {
        "c and 1": beside_one,
        "tanh(4c) and 1": lambda c: beside_one((4 * c).tanh()),
        "c alone": lambda c: c * h,
    }
    rows = []
    for name, read in reads.items():
        map = m.nib(reader(read), x, h, layer=1, steps=100).map
        stray = F.avg_pool2d(map, 8).flatten()[OUT_OF_REACH].abs().max().item()
        decisive = map.abs().max().item()
        rows.append(dict(method="nib", encoder=name, stray=stray, decisive=decisive))
    scores = F.avg_pool2d(m.mfaba(reader(beside_one), x, h).map, 8).flatten()
    decisive = scores[5].item()
    stray = scores.sum().item() - decisive
    return rows + [dict(method="mfaba", encoder="c and 1", stray=stray, decisive=decisive)]


OUT_OF_REACH = [3, 7, 11, 12, 13, 14, 15]  # cells that cell 5 does not touch when it is enlarged


def reader(read: Callable) -> Encoder:
    """An encoder whose features are the means of 4 x 4 cells, and whose embedding is `read` of cell
    5."""
    cells = Parts(
        stem=lambda v: F.avg_pool2d(v[:, :1], 8),
        blocks=(torch.nn.Identity(),),
        tail=lambda f: read(f.flatten(1)[:, 5:6]),
    )
    return wrap(lambda v: cells.tail(cells.stem(v)), image_size=32, parts=cells)


def beside_one(c: Tensor) -> Tensor:
    return torch.cat([c, torch.ones_like(c)], 1)


def rewritten(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How far the maps of equal networks lie apart, of the largest score. The image tower is
    written in other ways around NIB's layer; the constant is another one for each channel, since
    layer norms take one that all share away."""
    c = pair(model, samples, unit)
    layer = c.encoder.layer_at(NIB_AT)
    write = partial(metrics.rewritten, c.encoder, layer)
    with torch.no_grad():
        width = c.encoder.split(layer).prefix(c.inputs).shape[-1]
    constant = torch.linspace(-1, 1, width, device=c.encoder.device)
    forms = {
        "times 4": write(lambda z: 4 * z, lambda z: z / 4),
        "blocks joined": write(join=True),
        "plus a constant": write(lambda z: z + constant, lambda z: z - constant),
    }
    rows = []
    for name, method in {"nib": partial(m.nib, layer=layer), "mfaba": METHODS["mfaba"]}.items():
        whole = method(c.encoder, c.inputs, c.targets).map
        for form, encoder in forms.items():
            away = method(encoder, c.inputs, c.targets).map - whole
            apart = (away.abs().max() / whole.abs().max()).item()
            rows.append(dict(method=name, form=form, apart=apart))
    return rows


def mfaba_sums(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """The sum of MFABA's scores, and the fall of the match along its walk."""
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        total, fall = metrics.sign_descent(c.encoder, c.inputs, c.targets)
        rows.append(dict(side=side, total=total.item(), fall=fall.item()))
    return rows


def passes(unit: int, *, model: str, samples: Callable, masks: int) -> list[dict]:
    """Table 8: the passes that each method spends on both sides of a pair and the two target
    embeddings, and the same in whole towers: a pass counts by the share of blocks that it runs.

    masks  RISE's for an image
    """
    rows = []
    for name, method in METHODS.items():
        spent = dict(method=name, forwards=2, backwards=0, towers_forward=2, towers_backward=0)
        for side in SIDES:
            c = pair(model, samples, unit, side)
            own = dict(masks=masks) if name == "rise" and side == "image" else {}
            cost = explained(partial(method, **own), c).cost
            forwards, backwards = cost["forwards"], cost["backwards"]
            before = c.encoder.layer_at(FIRST.get(name, 0) / 12) / c.encoder.depth
            if before and forwards > 1:  # the blocks before the method's run once
                whole = before + (forwards - 1) * (1 - before)
            else:
                whole = forwards
            spent["forwards"] += forwards
            spent["backwards"] += backwards
            spent["towers_forward"] += whole
            spent["towers_backward"] += backwards * (1 - before)
        rows.append(spent)
    return rows


def towers(unit: int, *, models: tuple[str, ...], samples: Callable) -> list[dict]:
    """The passes of NIB's map on towers of other depths and widths, of one pair and of three."""
    rows = []
    for model in models:
        for side in SIDES:
            for n in (1, 3):
                c = pair(model, samples, unit, side, n)
                row = dict(of=f"{model}, {side}, set of {n}", depth=c.encoder.depth)
                rows.append(row | explained(m.nib, c).cost)
    return rows


def seconds(unit: int, *, model: str, samples: Callable, masks: int) -> list[dict]:
    """How long each method takes for each side of a pair, alone, after one pass of each tower.

    masks  RISE's for an image
    """
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        with torch.no_grad():
            c.encoder(c.inputs)
        for name, method in METHODS.items():
            own = dict(masks=masks) if name == "rise" and side == "image" else {}
            taken, _ = timed(partial(explained, partial(method, **own), c), c.encoder.device)
            rows.append(dict(side=side, method=name, seconds=taken))
    return rows


def criteria(unit: int, *, model: str, other: str, samples: Callable) -> list[dict]:
    """NIB's Table 1, run: which of its criteria each method meets on two pairs, and, on a model
    whose image tower is a CNN, `other`, whether it runs. Few steps are enough for that."""
    both = [pair(model, samples, unit, side, 2) for side in SIDES]
    x, texts = both[0].inputs, both[1].inputs
    c = pair(other, samples, unit)
    rows = []
    for name, method in QUICK.items():
        met = metrics.properties(
            method, load(model), x, texts, other=(c.encoder, c.inputs, c.targets)
        )
        rows += [dict(method=name, criterion=k, met=v) for k, v in met.items()]
    return rows


def leaky_nib(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """NIB towards the mean of all targets of the batch, as its repository has it for texts."""
    together = F.normalize(targets).mean(0, keepdim=True).expand_as(targets)
    return m.nib(encoder, inputs, together)


QUICK = METHODS | {
    "nib": partial(m.nib, steps=3),
    "m2ib": partial(m.m2ib, steps=2, copies=2),
    "rise": partial(m.rise, masks=4),
    "mfaba": partial(m.mfaba, layer=0, steps=1),
    "random": m.random_map,
    "nib (released text)": leaky_nib,
}


def runs(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """NIB's map made twice, and alone and beside another pair: the largest differences, the latter
    of the largest score."""
    rows = []
    for side in SIDES:
        c, two = (pair(model, samples, unit, side, n) for n in (1, 2))
        once, again = (explained(m.nib, c).map for _ in range(2))
        among = explained(m.nib, two).map[:1, ..., : once.shape[-1]]
        company = ((among - once).abs().max() / once.abs().max()).item()
        rows.append(dict(side=side, two_runs=(again - once).abs().max().item(), in_company=company))
    return rows


def m2ib_maps(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How alike M2IB's maps are: of the first seed and each further one, with whether the hottest
    place is another one; without noise; and of two betas, `low` and `high`."""
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        first, *others = (explained(partial(m.m2ib, seed=k), c).map for k in range(SEEDS))
        for k, map in enumerate(others, start=1):
            row = dict(side=side, seed=k, moved=int(map.argmax() != first.argmax()))
            rows.append(row | dict(correlation=alike(first, map)))
        quiet = explained(partial(m.m2ib, noise=False), c).map
        rows.append(dict(side=side, seed=0, moved=0, correlation=alike(first, quiet)))
        maps = {b: explained(partial(m.m2ib, beta=b, seed=0), c).map for b in ENDS} | {BETA: first}
        for low, high in ((ENDS[0], BETA), (BETA, ENDS[1]), ENDS):
            near = alike(maps[low], maps[high])
            rows.append(dict(side=side, low=low, high=high, correlation=near))
    return rows


STEADY = ("nib", "m2ib", "saliency", "fast-ig", "grad-cam", "chefer", "random")


def noise(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """The rank correlation of each method's map of a picture with that of the picture under weak
    noise, both averaged to 7 x 7 cells, so that a fine map has no handicap."""
    c = pair(model, samples, unit)
    drawn = torch.randn(c.inputs.shape, generator=torch.Generator().manual_seed(unit))
    shaken = replace(c, inputs=c.inputs + JITTER * drawn)
    rows = []
    for name in STEADY:
        method = METHODS.get(name, m.random_map)
        both = [F.adaptive_avg_pool2d(explained(method, v).map, CELLS) for v in (c, shaken)]
        rows.append(dict(method=name, correlation=alike(*both)))
    return rows


@torch.no_grad()
def cells(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """What taking cells away changes of the match: those with the most negative scores of NIB, with
    the most positive ones, and random ones; in the layer, where they become 0, and in the picture,
    where they get the mean colour."""
    c = pair(model, samples, unit)
    extra, grid = c.encoder.tokens
    scores = m.nib_path(c.encoder, c.inputs, c.targets).scores(10)[0, extra:]  # (h w,)
    drawn = torch.rand(CHOICES, len(scores), generator=torch.Generator().manual_seed(unit))
    order = torch.cat([torch.stack([scores, -scores]), drawn])  # (2 + CHOICES, h w)
    least = order.topk(REMOVED, largest=False).indices
    gone = torch.zeros_like(order, dtype=torch.bool).scatter(1, least, True)
    layer, places = c.encoder.layer_at(NIB_AT), F.pad(gone, (extra, 0))[:, None]
    kept = F.interpolate((~gone).float().view(-1, 1, *grid), size=c.inputs.shape[-2:])
    match = {
        "layer": metrics.match_without(c.encoder, c.inputs, c.targets, places, layer=layer)[:, 0],
        "picture": F.cosine_similarity(c.encoder(c.inputs * kept), c.targets),
    }
    rows = []
    for where, left in match.items():
        change = left - c.match
        means = {
            "most negative": change[0],
            "most positive": change[1],
            "random": change[2:].mean(),
        }
        rows += [dict(where=where, cells=k, change=v.item()) for k, v in means.items()]
    return rows


def single_places(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """The rank correlation of each method's map with what taking away single places costs, at the
    layer where the method works."""
    rows = []
    for side in SIDES:
        c = pair(model, samples, unit, side)
        layers = {name: c.encoder.layer_at(block / 12) for name, block in FIRST.items()}
        worth = {
            layer: metrics.removal_map(c.encoder, c.inputs, c.targets, layer=layer)
            for layer in set(layers.values())
        }
        for name in (*FIRST, "random"):
            map = explained(METHODS.get(name, m.random_map), c).map
            near = alike(map, worth[layers.get(name, layers["nib"])])
            rows.append(dict(side=side, method=name, correlation=near))
    return rows
