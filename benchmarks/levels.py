"""How often the kit's 95 % intervals hold the truth, and how often claims about equal methods fail.

    python benchmarks/levels.py [--runs 2000]

Two tables: coverage in % of `stats.estimate` by the kind of values and their number, and the share
in % of runs in which a claim about equal methods does not hold, by the number of samples and of
comparisons. Beside each stands what an interval by percentile bootstrap, without a correction for
the number of comparisons, gives.
"""

import argparse

import numpy as np
import pandas as pd

from xai_utils.papers.statistics import compared, judge
from xai_utils.stats import auc, estimate, jackknife

KINDS = {  # name: draw n values, the true mean
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(size=n), float(np.exp(0.5))),
    "yes/no, 50 %": (lambda rng, n: 100.0 * (rng.random(n) < 0.5), 50.0),
    "yes/no, 90 %": (lambda rng, n: 100.0 * (rng.random(n) < 0.9), 90.0),
    "difference of yes/no": (
        lambda rng, n: 100.0 * (rng.random(n) < 0.6) - 100.0 * (rng.random(n) < 0.4),
        20.0,
    ),
    "normal, four of a cluster": (
        lambda rng, n: np.repeat(rng.normal(size=n), 4) + 0.3 * rng.normal(size=4 * n),
        0.0,
    ),
}
AMONG = {"yes/no": (0, 100), "difference of yes/no": (-100, 0, 100)}
COUNTS = (4, 6, 8, 10, 20, 50)


def percentile(values: np.ndarray, rng) -> tuple[float, float]:
    means = values[rng.integers(len(values), size=(500, len(values)))].mean(1)
    return tuple(np.percentile(means, [2.5, 97.5]))


def coverage(runs: int, rng) -> pd.DataFrame:
    rows = []
    for kind, (draw, truth) in KINDS.items():
        for n in COUNTS:
            held = plain = 0
            for _ in range(runs):
                values = draw(rng, n)
                clusters = np.arange(len(values)) * n // len(values)
                among = AMONG.get(kind.split(",")[0])
                _, low, high = estimate(values, clusters=clusters, among=among).ends
                held += low <= truth <= high
                low, high = percentile(values, rng)
                plain += low <= truth <= high
            rows.append((kind, n, f"{100 * held / runs:.1f} ({100 * plain / runs:.1f})"))
    table = pd.DataFrame(rows, columns=["values", "n", "cell"])
    return table.pivot(index="values", columns="n", values="cell").loc[list(KINDS)]


def auc_coverage(runs: int, rng) -> pd.Series:
    """Of the difference of two AUCs on the same n matched and n mismatched pairs."""
    held = {}
    for n in COUNTS:
        held[n] = 0
        for _ in range(runs):
            shared = rng.normal(size=2 * n) + np.repeat([0.0, 1.0], n)
            a, b = (shared + 0.7 * rng.normal(size=2 * n) for _ in range(2))
            found = jackknife(
                lambda v, w, m: auc(v[~m], v[m]) - auc(w[~m], w[m]),
                *(a, b, np.repeat([False, True], n)),
                clusters=np.tile(np.arange(n), 2),
                within=(-1, 1),
            )
            held[n] += found.low <= 0 <= found.high
    return (100 * pd.Series(held) / runs).round(1)


def false_verdicts(runs: int, rng) -> pd.DataFrame:
    rows = []
    for n in (6, 8, 20):
        for m in (1, 8, 24):
            ours = plain = 0
            for _ in range(runs // 4):
                values = rng.normal(size=(m, n))
                lines = [compared({"comparison": f"{k}"}, v, ">", 0) for k, v in enumerate(values)]
                ours += judge("p-ibisa-01", lines).outcome == "does not hold"
                plain += any(percentile(v, rng)[1] < 0 for v in values)
            cell = f"{400 * ours / runs:.1f} ({400 * plain / runs:.1f})"
            rows.append((n, m, cell))
    table = pd.DataFrame(rows, columns=["n", "comparisons", "cell"])
    return table.pivot(index="n", columns="comparisons", values="cell")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs, rng = parser.parse_args().runs, np.random.default_rng(0)
    pd.set_option("display.width", 120, "display.max_columns", 20)
    print("Coverage, % (percentile bootstrap, samples for clusters)", coverage(runs, rng), sep="\n")
    print("\nDifference of two AUCs, %", auc_coverage(runs // 4, rng).to_string(), sep="\n")
    print("\nClaims about equal methods that do not hold, %", false_verdicts(runs, rng), sep="\n")


if __name__ == "__main__":
    main()
