"""Gumbel-Sinkhorn with rows and columns divided one after the other, in plain numbers and not in
logarithms; the start is that of the hard sort."""

import math


def sinkhorn(scores, sizes, tau, iterations, noise=None):
    """One list of N scores -> R lists of N shares."""
    n, end, rho = len(scores), 0, []
    for size in sizes:
        ranks = range(end, end + size)
        rho.append(sum(1 - (2 * r + 1) / n for r in ranks) / size)
        end += size
    start, first, ranked = [0.0], 0, sorted(scores, reverse=True)
    for i in range(
        1, len(sizes)
    ):  # at the score halfway between groups i - 1 and i both have the same weight
        first += sizes[i - 1]
        start.append(
            start[-1] + (rho[i - 1] - rho[i]) * (ranked[first - 1] + ranked[first]) / 2 / tau
        )
    p = [
        [
            math.exp(a * rho[i] / tau + start[i] + (noise[i][j] if noise else 0))
            for j, a in enumerate(scores)
        ]
        for i in range(len(sizes))
    ]

    def divide_columns():
        for j in range(n):
            total = sum(row[j] for row in p)
            for row in p:
                row[j] /= total

    for _ in range(iterations):
        divide_columns()
        for row, size in zip(p, sizes):
            total = sum(row)
            for j in range(n):
                row[j] *= size / total
    divide_columns()
    return p
