"""Kernel SHAP: Shapley values from a weighted least squares fit."""

from math import comb

import torch
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import check_number, check_seed
from ..types import Attribution, Encoder, TextEncoder
from .base import method
from .gradients import unit
from .sampling import collected, probes


@method
@torch.no_grad()
def kernel_shap(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    samples: int = 2048,
    cells: int = 7,
    seed: int = 0,
    chunk: int = 64,
) -> Attribution:
    """Shapley values of square cells or of words, by weighted least squares (Lundberg and Lee 2017,
    Theorem 2).

        min over A of sum over coalitions c of pi(c) (S(c) - S(none) - c A)^2
        with sum A = S(all) - S(none)
        pi(c) = (M - 1) / (comb(M, s) s (M - s)),   s = members of c,   M players

    encoder, inputs, targets  as in `rise`; players outside the coalition are the mean colour, or
                              zero word embeddings
    samples  coalitions, drawn in proportion to pi, each with its complement; where there are no
             more than these in all (2^M - 2), every one is taken once with its weight, and A is
             exact. 2048 is what the shap package starts from
    cells    the players are `cells` x `cells` rectangles of the image; a text's are its words
    chunk    how many rows are in memory at once; changes only the order of summation. Of the fit
             only the sums are kept
    Returns the map (B, H, W), one value all over a cell, or for texts (B, T), in units of S,
    signed: the cell's or word's own share. cost: forwards, those of the longest text. With 49
    players 2048 samples leave noise: with conse-lite0 the maps of two seeds correlate at 0.46 and
    0.77 for two texts and one scene. Another seed tells how far to trust a map.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    for name, value, low in (("samples", samples, 2), ("cells", cells, 2), ("chunk", chunk, 1)):
        check_number(name, value, low, integer=True)
    check_seed(seed)
    text = isinstance(encoder, TextEncoder)
    if not text and cells > min(inputs.shape[-2:]):
        raise ValueError(
            f"cells must be at most the image's side, {min(inputs.shape[-2:])}, got {cells}"
        )
    maps, most = [], 0
    for score, shape in progress(probes(encoder, inputs, targets), "Kernel SHAP"):
        m = shape[0] if text else cells * cells
        c, pi = (t.to(encoder.device) for t in coalitions(m, samples, seed))  # (n, M) bool, (n,)
        a, b = (
            torch.zeros(m, m, dtype=torch.double, device=c.device),
            torch.zeros(m, dtype=torch.double, device=c.device),
        )
        ends = torch.tensor([[0.0], [1.0]], device=c.device).expand(2, m)
        none, all_ = score(ends if text else enlarged(ends, cells, shape)).double()
        for k in row_groups(encoder, 1, len(c), chunk) if len(c) else ():
            x = c[k].double()
            s = score(x.float() if text else enlarged(x.float(), cells, shape)).double()
            a, b = a + (x.T * pi[k]) @ x, b + (x.T * pi[k]) @ (s - none)
        values = constrained(a, b, all_ - none).float()
        maps.append(values if text else enlarged(values[None], cells, shape)[0])
        most = max(most, 2 + len(c))
    return collected(encoder, inputs, maps, unit(targets), forwards=most)


def coalitions(m: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Members (n, M) bool and the weight of each coalition in the fit (n,); without the empty and
    the full one."""
    if m < 2:
        return torch.zeros(0, m, dtype=torch.bool), torch.zeros(0, dtype=torch.double)
    if 2**m - 2 <= samples:
        c = torch.arange(1, 2**m - 1)[:, None] >> torch.arange(m) & 1
        return c.bool(), torch.tensor(
            [(m - 1) / (comb(m, s) * s * (m - s)) for s in c.sum(1).tolist()], dtype=torch.double
        )
    generator, s = torch.Generator().manual_seed(seed), torch.arange(1, m)
    sizes = s[
        torch.multinomial(
            (1 / (s * (m - s))).float(), samples // 2, replacement=True, generator=generator
        )
    ]
    rank = torch.rand(len(sizes), m, generator=generator).argsort(1).argsort(1)
    c = rank < sizes[:, None]
    return torch.stack([c, ~c], 1).flatten(0, 1), torch.full(
        (2 * len(c),), 0.5 / len(c), dtype=torch.double
    )


def constrained(a: Tensor, b: Tensor, total: Tensor) -> Tensor:
    """argmin over v of v a v - 2 b v with sum v = total, from its Lagrange equations; the shortest
    v where many will do."""
    m = len(b)
    system = torch.zeros(m + 1, m + 1, dtype=a.dtype)
    system[:m, :m], system[m, :m], system[:m, m] = a.cpu(), 1, 1
    right = torch.cat([b, total[None]]).cpu()
    return torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:m, 0].to(b.device)


def enlarged(c: Tensor, cells: int, shape) -> Tensor:
    """(r, cells * cells) -> (r, H, W), every cell a rectangle."""
    rows, columns = (torch.arange(n, device=c.device) * cells // n for n in shape)
    return c.unflatten(1, (cells, cells))[:, rows][:, :, columns]
