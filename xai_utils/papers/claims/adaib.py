"""AdaIB's claims that no rule in claims.csv decides: evidence in, verdict out, a function each.

Each decides what the claim's row says in words. `n` is the number of pairs that speak; where
nothing is sampled it is left out.
"""

import pandas as pd

from .. import Verdict, comparisons, decide
from ..tables import said

CONFIDENCE = ("image conf-drop", "image conf-incr", "text conf-drop", "text conf-incr")


def adaib_01(ratios: pd.DataFrame, differences: pd.DataFrame) -> Verdict:
    """AdaIB stays quiet on a swapped caption, where others draw strong maps.

    ratios       columns ratio, low, high, n: AdaIB's total of a map with another's caption over
                 that with its own, a line for each setting
    differences  columns low, high: AdaIB's ratio minus a rival's, a line for each of both
    """
    small, below = (ratios.high < 0.5).sum(), (differences.high < 0).sum()
    why = (
        f"AdaIB's ratio is {ratios.ratio.min():.2f} to {ratios.ratio.max():.2f}, its interval below"
        f" 0.5 in {small} of {len(ratios)} settings, and below the ratio of M2IB, Grad-CAM or NIB"
        f" in {below} of {len(differences)} comparisons"
    )
    good = small == len(ratios) and below == len(differences)
    bad = (ratios.low > 0.5).any() or (differences.low > 0).any()
    return decide("adaib-01", good, bad, why, differences, n=ratios.n.min())


def adaib_02(table: pd.DataFrame) -> Verdict:
    """A beta of each pair's own explains better than a common one.

    table  columns IoU, low, high, n; the last line is the pair's own minus the common one
    """
    gain = table.iloc[-1]
    why = f"IoU {gain.IoU:+.3f} [{gain.low:.3f}, {gain.high:.3f}]"
    return decide("adaib-02", gain.low > 0, gain.high < 0, why, table, n=gain.n)


def adaib_03(table: pd.DataFrame) -> Verdict:
    """With constant weights AdaIB is M2IB.

    table  columns f, maps, traces: the largest difference of the maps and of the traces
    """
    one = table[table.f == 1]
    same = one.maps.max() < 1e-5 and one.traces.max() < 1e-6
    why = f"with f = 1 maps differ by {one.maps.max():.2g} and traces by {one.traces.max():.2g}"
    return decide("adaib-03", same, not same, why, table)


def adaib_04(table: pd.DataFrame, *, n: int) -> Verdict:
    """At high relevance what the match needs is kept, at vanishing relevance next to nothing.

    table  columns f, KL, fit, from the smallest f to the largest, after convergence; the last line,
           f infinite, has no compression
    """
    low, high, free = (table.iloc[k] for k in (0, -2, -1))
    kept = low.KL < 0.01 * high.KL and abs(high.fit - free.fit) < 0.01 * abs(free.fit)
    why = (
        f"KL {low.KL:.2g} against {high.KL:.2g}, fit {high.fit:.3f} against {free.fit:.3f} without"
        " a price"
    )
    return decide("adaib-04", kept, not kept, why, table, n=n)


def adaib_05(table: pd.DataFrame, *, n: int) -> Verdict:
    """Of all gates with the same match AdaIB's let the least through.

    table  columns low, high: nats of AdaIB minus those of a rival, a line each; NaN where too few
           rivals reach the match
    """
    worse, reached = (table.high >= 0).sum(), table.high.notna().sum()
    why = f"{worse} of {reached} comparisons with rivals that reach the match are not below 0"
    good = worse == 0 and reached > 0
    return decide("adaib-05", good, (table.low > 0).any(), why, table, n=n)


def adaib_06(table: pd.DataFrame) -> Verdict:
    """The price falls with relevance, and better matched pairs keep more.

    table  columns g, against ("price g/f" or "nats kept"), r, low, high, n: rank correlations with
           the pair's cosine
    """
    table = table[table.g != "M2IB"]
    price, kept = (table[table.against == what] for what in ("price g/f", "nats kept"))
    texts = [f"{line.g}: {said(line.r, line.low, line.high)}" for line in kept.itertuples()]
    good = price.high.max() < 0 and kept.low.min() > 0
    bad = price.low.max() > 0 or kept.high.min() < 0
    why = "cosine against nats kept, " + "; ".join(texts)
    return decide("adaib-06", good, bad, why, table, n=table.n.min())


def adaib_07(share: float, table: pd.DataFrame, *, n: int) -> Verdict:
    """A freely learned g keeps the balance.

    share  of the n pairs, matched or swapped, whose g is at its floor
    """
    why = f"g is at its floor in {share:.0%} of {n} pairs, matched or swapped"
    return decide("adaib-07", share < 0.1, share >= 0.1, why, table, n=n)


def adaib_11(table: pd.DataFrame, *, rivals: list[str]) -> Verdict:
    """On named things AdaIB has the best confidence drop and increase of both sides.

    table  rows of `score`: conf-drop and conf-incr of "adaib" and its rivals
    """
    lines = confidence_lines("adaib-11", table, rivals)
    means = table[table.method.isin(["adaib", *rivals])]
    means = means.groupby(["modality", "metric", "method"]).value.mean()
    first = sum(best_method(means, cell) == "adaib" for cell in CONFIDENCE)
    worse = lines.opposite.sum()
    why = f"best mean in {first} of 4 cells; {worse} of {len(lines)} intervals on the worse side"
    good = first == 4 and worse == 0
    return decide("adaib-11", good, worse > 0, why, lines, n=lines.n.min())


def adaib_13(table: pd.DataFrame) -> Verdict:
    """AdaIB beats M2IB and NIB on every part of the pairs, by how well they match.

    table  rows of `score`: conf-drop and conf-incr of both sides, the part in place of the data set
    """
    lines = confidence_lines("adaib-13", table, ["m2ib", "nib"])
    won = lines.groupby(["dataset", "modality", "metric"]).holds.all()
    worse = lines.opposite.sum()
    why = (
        f"{won.sum()} of {len(won)} rows decided for AdaIB; {worse} of {len(lines)} intervals on"
        " the worse side"
    )
    return decide("adaib-13", won.all(), worse > 0, why, lines, n=lines.n.min())


def confidence_lines(claim: str, table: pd.DataFrame, rivals: list[str]) -> pd.DataFrame:
    """AdaIB minus each rival in drop and increase of both sides, with whether that decides for it
    (`holds`) or against it (`opposite`)."""
    rivals = ", ".join(rivals)
    clauses = f"conf-drop: adaib < {rivals}", f"conf-incr: adaib > {rivals}"
    return pd.DataFrame([line for clause in clauses for line in comparisons(claim, clause, table)])


def best_method(means: pd.Series, cell: str) -> str:
    side, metric = cell.split()
    of = means[side, metric]
    return of.idxmin() if metric == "conf-drop" else of.idxmax()


def adaib_14(differences: pd.DataFrame) -> Verdict:
    """AdaIB's final losses tell matched from mismatched pairs, M2IB's and NIB's do not.

    differences  columns low, high, n: AUC of AdaIB's loss minus that of M2IB's, of NIB's total or
                 of the plain cosine, a line for each setting
    """
    ahead, behind = (differences.low > 0).sum(), (differences.high < 0).sum()
    why = (
        f"AdaIB's loss is ahead in {ahead} and behind in {behind} of {len(differences)} comparisons"
        f" with M2IB, NIB and the cosine; {len(differences) - ahead - behind} are not decided"
    )
    good = ahead == len(differences)
    return decide("adaib-14", good, behind > 0, why, differences, n=differences.n.min())


def adaib_15(table: pd.DataFrame) -> Verdict:
    """f, printed as a distance, is higher for matched pairs.

    table  columns f ("distance, as printed" or "1 / distance"), auc, low, high, n: of matched pairs
           above swapped ones
    """
    printed = table[table.f == "distance, as printed"]
    why = (
        f"AUC of the printed distance {printed.auc.min():.2f} to {printed.auc.max():.2f}: it is"
        " smaller for matched pairs; only its inverse, Appendix B.1, is higher"
    )
    good, bad = (printed.low > 0.5).all(), (printed.high < 0.5).any()
    return decide("adaib-15", good, bad, why, table, n=printed.n.min())


def adaib_16(table: pd.DataFrame, *, n: int) -> Verdict:
    """At equal f different pairs get different g.

    table  columns network, step, largest, share, low: the share of the pairs in the variance of
           log g, and the largest g; the last line of each network counts
    """
    last = table.groupby("network").last()
    paper, linear = last.loc["mlp"], last.loc["linear"]
    good = paper.low > 0.5
    why = (
        f"mlp ends with g at most {paper.largest:.2g}; linear, share of pairs {linear.share:.2f}"
        f" with g at most {linear.largest:.2g}"
    )
    return decide("adaib-16", good, not good, why, table, n=n)


def adaib_17(costs: pd.DataFrame, method: str = "adaib") -> Verdict:
    """AdaIB costs hardly more time or memory than M2IB.

    costs  columns method, time, memory: over M2IB's
    """
    own = costs.set_index("method").loc[method]
    good = own.time <= 1.1 and own.memory <= 1.02
    why = f"{own.time:.2f} times M2IB's time, {own.memory:.2f} times its memory"
    return decide("adaib-17", good, not good, why, costs)


def adaib_18(leads: pd.DataFrame, *, n: int) -> Verdict:
    """Of four relevance functions L2 performs best overall.

    leads  columns best, decided: which f leads in a measure, and whether its interval excludes 0
    """
    clear = leads[leads.decided]
    l2 = (clear.best == "l2").sum()
    why = f"{len(clear)} of {len(leads)} leads decided, {l2} of them for L2 (learned g)"
    return decide("adaib-18", l2 > len(clear) / 2, l2 < len(clear) / 2, why, leads, n=n)


def adaib_19(table: pd.DataFrame, *, n: int) -> Verdict:
    """The choice of f moves the map, and L2 and cosine focus on the object.

    table  columns g ("learned", "scaled"), low, high (correlation across f minus that of two
           seeds), gaps (of the four IoU gaps, how many are as claimed); the learned g decides
    """
    lines = [
        f"{line.g} g: correlation {'' if line.high < 0 else 'not '}below that of two seeds,"
        f" {line.gaps} of 4 IoU gaps as claimed"
        for line in table.itertuples()
    ]
    learned = table[table.g == "learned"].iloc[0]
    good = learned.high < 0 and learned.gaps == 4
    return decide("adaib-19", good, learned.low > 0, "; ".join(lines), table, n=n)


def adaib_20(raw: pd.DataFrame, unit: pd.DataFrame) -> Verdict:
    """L2 beats cosine because it also uses the length of the embedding.

    raw, unit  lines of `comparisons`: L2 of raw lengths against L2 of unit vectors, and that
               against the cosine, at one mean compression weight
    """
    good = raw.holds.all()
    even = ((unit.low <= 0) & (unit.high >= 0)).all()
    why = (
        f"raw ahead of unit L2: {'yes' if good else 'no'}; unit L2 even with cosine:"
        f" {'yes' if even else 'no'}"
    )
    bad = not even or raw.opposite.any()
    evidence = pd.concat([raw, unit])
    return decide("adaib-20", good and even, bad, why, evidence, n=evidence.n.min())


def adaib_21(lines: pd.DataFrame) -> Verdict:
    """One hidden layer of 32 ReLU units is the best of six networks for g.

    lines  of `comparisons`, in eight measures: 1-32-1 ReLU against each other network (`right`)
    """
    ahead = lines.groupby(["modality", "metric"]).holds.all().sum()
    why = f"1-32-1 ReLU is ahead of all others, with intervals, in {ahead} of 8 measures"
    bad = lines.groupby("right").opposite.sum().max() > 4
    return decide("adaib-21", ahead >= 4, bad, why, lines, n=lines.n.min())


def adaib_22(lines: pd.DataFrame) -> Verdict:
    """Without a nonlinearity in g performance is poor; lines as for `adaib_21`."""
    return worse_networks("adaib-22", lines, {"1-1": "linear", "1-32-32-1-none": "identity"})


def adaib_23(lines: pd.DataFrame) -> Verdict:
    """Deeper, narrower or tanh networks are worse than 1-32-1 ReLU; lines as for `adaib_21`."""
    names = ("1-8-8-1-relu", "1-64-64-1-relu", "1-32-32-1-tanh")
    return worse_networks("adaib-23", lines, {name: name for name in names})


def worse_networks(claim: str, lines: pd.DataFrame, names: dict[str, str]) -> Verdict:
    """Whether each of some networks is worse than 1-32-1 ReLU in most of eight measures."""
    lines = lines[lines.right.isin(names)]
    worse, better = (lines.groupby("right")[k].sum() for k in ("holds", "opposite"))
    counts = ", ".join(f"{worse[k]} ({name})" for k, name in names.items())
    why = f"worse in {counts} of 8 measures"
    return decide(claim, worse.min() > 4, better.max() > 3, why, lines, n=lines.n.min())


def adaib_24(lines: pd.DataFrame) -> Verdict:
    """A fixed f with a learned g is the best of the combinations.

    lines  of `comparisons`: that combination against each other one
    """
    why = f"better in {lines.holds.sum()} of {len(lines)} comparisons"
    bad = lines.opposite.any()
    return decide("adaib-24", lines.holds.all(), bad, why, lines, n=lines.n.min())
