"""Sorting made soft: from scores of N cells to masks of the k highest, with gradients
(Gumbel-Sinkhorn; Mena et al. 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_sort(
    scores: Tensor, sizes: Tensor, *, tau: float, iterations: int = 20, noise: Tensor | None = None
) -> Tensor:
    """P = Sinkhorn(X / tau), X_rj = a_j rho_r: what share of cell j stands in group r of the ranks,
    (B, R, N).

    scores      a, (B, N); of about unit spread, or tau has no meaning
    sizes       (R,), how many ranks each group holds, highest first, in all N. Ones: every rank by
                itself, and P tends to the permutation matrix that sorts; fewer groups are the same
                problem with ranks of one group not told apart
    tau         temperature; as it falls, P tends to the hard sort
    iterations  times that columns and rows are normalised in turn, in the log domain, from
                `hard_start`; columns come last and sum to 1, rows sum to `sizes` as far as the
                iterations have come
    noise       added to X / tau, (B, R, N), for instance Gumbel noise
    Memory is that of (B, R, N) for each iteration where a gradient is wanted.
    """
    sizes = sizes.to(scores)
    ends = sizes.cumsum(0)
    n = scores.shape[1]
    if round(float(ends[-1])) != n or (sizes <= 0).any():
        raise ValueError(f"sizes must be positive and sum to the {n} cells, got {sizes.tolist()}")
    rho = 1 - (2 * ends - sizes) / n  # (R,): mean rank value of each group, from 1 down to -1
    x = scores[:, None] * rho[:, None] / tau  # (B, R, N)
    if noise is not None:
        x = x + noise
    u = hard_start(scores, ends, rho)[:, :, None] / tau  # (B, R, 1)
    for _ in range(iterations):
        v = -(x + u).logsumexp(1, keepdim=True)  # (B, 1, N)
        u = sizes.log()[:, None] - (x + v).logsumexp(2, keepdim=True)  # (B, R, 1)
    return torch.softmax(x + u, 1)


def hard_start(scores: Tensor, ends: Tensor, rho: Tensor) -> Tensor:
    """Row potentials (B, R) of the hard sort: at the score halfway between two groups both are
    worth the same.

    Sinkhorn's fixed point does not depend on where it starts, but from zero it needs the more steps
    the colder it is.
    """
    ranked = scores.sort(1, descending=True).values
    edge = ends[:-1].round().long().clamp(1, scores.shape[1] - 1)
    between = (ranked[:, edge - 1] + ranked[:, edge]) / 2  # (B, R - 1)
    return F.pad((between * -rho.diff()).cumsum(1), (1, 0))


def soft_topk(
    scores: Tensor,
    k: Tensor,
    *,
    tau: float,
    iterations: int = 20,
    noise: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """m^(k)_j = sum of P_rj over the ranks r <= k: masks of the k highest cells, (B, S, N) in [0,
    1].

    k      (S,), rising, between 0 and N; the ranks between two of them are one group of `soft_sort`
    noise  scale of Gumbel noise on the matrix, from a generator with `seed`
    """
    n = scores.shape[1]
    edges = torch.cat([torch.zeros(1), k.float().cpu(), torch.tensor([float(n)])])
    gumbel = None
    if noise:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(len(scores), len(k) + 1, n, generator=generator).clamp(1e-6, 1 - 1e-6)
        gumbel = (-noise * (-uniform.log()).log()).to(scores)
    p = soft_sort(scores, edges.diff(), tau=tau, iterations=iterations, noise=gumbel)
    return p[:, :-1].cumsum(1).clamp(max=1)


def levels(n: int, steps: int, at: float = 0.5) -> Tensor:
    """`steps` values of k, evenly spread over 0..n; `at` in (0, 1) moves them all within their
    stride."""
    return (torch.arange(steps) + at) * n / steps
