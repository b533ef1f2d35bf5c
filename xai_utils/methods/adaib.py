"""AdaIB: a bottleneck whose compression each pair sets for itself, by how well its image and text
match."""

from itertools import pairwise
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_flag, check_number, check_positive, check_seed
from ..types import Attribution, Encoder
from .base import method
from .bottleneck import optimise_gates, own_noise

EPS = 1e-6  # eps_f and eps_g
DISTANCES = {"inverse-l1": 1, "inverse-l2": 2, "inverse-linf": inf}
NETWORKS = {  # Table 7: sizes of the hidden layers, activation
    "linear": ((), None),
    "mlp": ((32,), F.relu),
    "8-8-relu": ((8, 8), F.relu),
    "64-64-relu": ((64, 64), F.relu),
    "32-32-identity": ((32, 32), lambda u: u),
    "32-32-tanh": ((32, 32), torch.tanh),
}


@method
def adaib(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    f: str | float = "inverse-l2",
    g: str | float = "scaled",
    beta: float = 0.1,
    normalise: bool = True,
    tau: float = 1.0,
    clip: float | None = 1.0,
    layer: int | None = None,
    sigma: float = 1.0,
    steps: int = 10,
    lr: float = 1.0,
    copies: int = 10,
    noise: bool = True,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """M2IB with two weights: f grows with the relevance of the pair, g falls with it (AdaIB, Eqs.
    2, 4).

        L = g(f) mean KL( p(z'|x) || N(0, 1) ) - f mean over copies of cos(suffix(z'), target)
        beta_eff = g(f) / f
        z', KL and the map s as in `m2ib`, which constant f and g give back (Proposition 1)

    encoder, inputs, targets, layer, sigma, steps, lr, copies, noise, chunk  as in `m2ib`
    f     "inverse-l1", "inverse-l2": 1 / (distance + eps); "cosine": eps + softplus(tau (1 + cos)
          / 2) (App. B.1, step 5); "inverse-linf" (Chebyshev) is not in App. B.1, it comes from the
          ablation of App. E.1, Table 6. f is computed once, from the unmodified pair, because the
          paper's f(X, Y) does not depend on z'. A number: constant. eps = 1e-6
    g     "closed": 1 / (f + eps); "scaled": beta times that; learned from f, eps +
          softplus(network(f)): "linear", "mlp" (32 ReLU, the paper's), "8-8-relu", "64-64-relu",
          "32-32-identity", "32-32-tanh" (Table 7). A number: constant
    beta  of "scaled": M2IB's, so that f = 1 is M2IB
    normalise  distances of unit vectors. The paper does not say; False keeps lengths, as its App.
               E.1 hints
    clip  the most that the norm of a pair's gradient may have, gates and g together; None:
          anything. The paper's is 1, over whatever is optimised together; one pair at a time here,
          so that a map does not depend on the rest of the batch
    seed  noise, and the weights that each pair's own network starts from, in the same Adam as its
          gates
    Returns the map (B, H, W), or for texts (B, T), in nats, >= 0; trace: loss, fit (cosine), kl
    and gate (means over elements), f, g, beta_eff, each (steps, B); cost: passes of the suffix, one
    of the prefix and, unless f is a number, one for f. Why not the paper's g = "mlp": dL/dg = KL >
    0, so g falls, to eps within one step, and the map keeps everything. "closed" keeps next to
    nothing: beta_eff is 1.8 where M2IB has 0.1, and 1000 with the lengths of an untrained CLIP. On
    24 pairs of training scenes and conse-lite0, share of the map on the named thing and AUC of the
    loss against swapped captions: scaled 0.22, 0.81; closed 0.16, 0.61; mlp 0.09, 0.82; M2IB 0.19,
    0.81, and at the mean beta_eff of scaled, 0.19: 0.22, 0.76.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_options(
        f,
        g,
        dict(steps=steps, copies=copies, chunk=chunk),
        dict(sigma=sigma, lr=lr, tau=tau, beta=beta),
        clip,
    )
    check_flag("normalise", normalise)
    check_flag("noise", noise)
    check_seed(seed)
    split = encoder.split(encoder.layer_at(10 / 12) if layer is None else layer)

    def embed(rows, i):
        return split.suffix(rows, like=z, rows=i)

    with torch.no_grad():
        z = split.prefix(inputs)
        copies = copies if noise else 1
        h = (
            [embed(z[i], i) for i in row_groups(encoder, len(z), 1, chunk)]
            if isinstance(f, str)
            else []
        )
        relevant = relevance(h, targets, f, tau=tau, normalise=normalise)  # (B,)
    draw = (
        own_noise(z, copies, seed)
        if noise
        else lambda: torch.zeros(1, 1, *[1] * (z.ndim - 1), device=z.device)
    )
    price, weights = compression(g, relevant, beta, seed)
    passed, trace = optimise_gates(
        encoder,
        z,
        lambda rows, i: relevant[i] * F.cosine_similarity(embed(rows, i), targets[i]),
        draw,
        copies=copies,
        beta=price,
        sigma=sigma,
        steps=steps,
        lr=lr,
        chunk=chunk,
        what="AdaIB",
        weights=weights,
        clip=clip,
    )
    f_of, g_of = relevant.cpu().expand(steps, -1), trace.pop("beta")
    trace |= dict(fit=trace["fit"] / f_of, f=f_of, g=g_of, beta_eff=g_of / f_of)
    map = split.to_map(passed.sum(split.channel_dim), like=z).float().cpu()
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    cost = dict(forwards=copies * steps + 1 + isinstance(f, str), backwards=copies * steps)
    return Attribution(map=map, unit="nats", signed=False, trace=trace, cost=cost, tokens=tokens)


def relevance(
    h: list[Tensor], targets: Tensor, f: str | float, *, tau: float, normalise: bool
) -> Tensor:
    """f of every pair (B,), from its embeddings in parts (App. B.1, step 5; Chebyshev: App. E.1); a
    constant needs none."""
    if not isinstance(f, str):
        return torch.full((len(targets),), float(f), device=targets.device)
    h = torch.cat(h)
    if f == "cosine":
        return F.softplus(tau * (1 + F.cosine_similarity(h, targets)) / 2) + EPS
    if normalise:
        h, targets = F.normalize(h, dim=1), F.normalize(targets, dim=1)
    return 1 / (torch.linalg.vector_norm(h - targets, ord=DISTANCES[f], dim=1) + EPS)


def compression(g: str | float, f: Tensor, beta: float, seed: int):
    """(function (*weights) -> g of every pair (B,), the weights it starts from, each (B, ...))."""
    if g in ("closed", "scaled"):
        return lambda: (beta if g == "scaled" else 1) / (f + EPS), []
    if not isinstance(g, str):
        return lambda: torch.full_like(f, g), []
    hidden, act = NETWORKS[g]
    generator, weights = torch.Generator().manual_seed(seed), []
    for n, m in pairwise((1, *hidden, 1)):
        for shape in ((m, n), (m,)):  # as nn.Linear starts: uniform in +-1 / sqrt(inputs)
            start = torch.empty(shape).uniform_(-(n**-0.5), n**-0.5, generator=generator)
            weights.append(start.to(f).repeat(len(f), *[1] * len(shape)))

    def learned(*weights):
        u = f[:, None]  # (B, 1)
        for k in range(0, len(weights), 2):
            u = torch.einsum("bi,boi->bo", act(u) if k else u, weights[k]) + weights[k + 1]
        return EPS + F.softplus(u[:, 0])

    return learned, weights


def check_options(f, g, counts: dict, positive: dict, clip) -> None:
    for name, value in counts.items():
        check_number(name, value, 1, integer=True)
    for name, value in positive.items():
        check_number(name, value, 0, above=True)
    if clip is not None:
        check_positive(clip=clip)
    for name, value, names in (
        ("f", f, [*DISTANCES, "cosine"]),
        ("g", g, ["closed", "scaled", *NETWORKS]),
    ):
        if not isinstance(value, str):
            check_number(name, value, 0, above=name == "f")
        elif value not in names:
            raise ValueError(f"{name} must be a number or one of {', '.join(names)}, got {value!r}")
