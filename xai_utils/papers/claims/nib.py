"""NIB's claims that no rule in claims.csv decides alone: the numbers of a run in, a verdict out.

Each `nib_NN` follows the decision that claims.csv states in words. Where intervals only leave a
claim open, or fewer than six pairs speak, it is not decided.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ...metrics.maps import rank_correlation
from ...stats import mean_interval
from .. import Verdict, decide, published, verdict
from ..tables import interval_text

SETS = ("conceptual-captions", "imagenet", "flickr8k")
RIVALS = ("m2ib", "rise", "grad-cam", "chefer", "saliency", "mfaba", "fast-ig")
MEASURES = ("conf-drop", "conf-incr")
SIDES = ("image", "text")


def counted(evidence: pd.DataFrame, holds: str = "holds", against: str = "opposite") -> str:
    of, good, bad = len(evidence), int(evidence[holds].sum()), int(evidence[against].sum())
    return (
        f"{good} of {of} comparisons hold, {bad} go the other way, {of - good - bad} are not"
        " decided by so few pairs"
    )


def ruled(claim: str, table: pd.DataFrame, remark: str = "", *, also: bool = True) -> Verdict:
    """By the claim's rule in claims.csv, with the comparisons counted in words.

    remark  said behind the count
    also    a further condition without which the claim does not hold
    """
    v = verdict(claim, table)
    good, bad = v.evidence.holds.all() and also, v.evidence.opposite.any()
    return decide(claim, good, bad, counted(v.evidence) + remark, v.evidence)


def compared(
    claim: str, differences: dict[str, Sequence[float]], remark: str = "", *, also: bool = True
) -> Verdict:
    """The interval of each difference, paired by sample, must lie above 0."""
    rows = [(k, len(v), *mean_interval(v)) for k, v in differences.items()]
    lines = pd.DataFrame(rows, columns=["comparison", "n", "difference", "low", "high"])
    found = lines.assign(holds=lines.low > 0, opposite=lines.high < 0)
    good, bad = found.holds.all() and also, found.opposite.any()
    return decide(claim, good, bad, counted(found) + remark, lines, n=lines.n.min())


def values(table: pd.DataFrame, side: str, metric: str, method: str) -> np.ndarray:
    """One value a pair, in the table's order."""
    rows = (table.modality == side) & (table.metric == metric) & (table.method == method)
    return table[rows].value.to_numpy()


def bootstrap_draws(n: int, *, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Indices of bootstrap samples, (resamples, n)."""
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def percent(by_side: dict[str, float], digits: int = 0) -> str:
    return ", ".join(f"{v:.{digits}%} ({side})" for side, v in by_side.items())


def improvement(
    mean: dict, rivals: Sequence[str], sets: Sequence[str], measures: Sequence[str] = MEASURES
):
    """The abstract's figure, in %: the mean over data sets and measures of 1 - NIB/rival (drop) and
    1 - rival/NIB (increase), against the best rival of each data set and measure.

    mean    (method, data set, measure) -> mean value, a number or an array of bootstrap samples
    rivals  one: against it alone
    Not finite where NIB's increase or a rival's drop is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = []
        for d in sets:
            if "conf-drop" in measures:
                best = np.min([mean[r, d, "conf-drop"] for r in rivals], 0)
                shares.append(1 - mean["nib", d, "conf-drop"] / best)
            if "conf-incr" in measures:
                best = np.max([mean[r, d, "conf-incr"] for r in rivals], 0)
                shares.append(1 - best / mean["nib", d, "conf-incr"])
        return 100 * np.mean(shares, 0)


def printed_improvements() -> pd.DataFrame:
    """The same arithmetic on the printed Tables 2 and 5: side, against, drop and increase, drop
    alone."""
    weak = published("nib", "5").query("setting == 'beta=0.01'").assign(method="m2ib, 0.01")
    cells = pd.concat([published("nib", "2"), weak])
    against = {"m2ib": ["m2ib"], "best rival": RIVALS, "m2ib, 0.01": ["m2ib, 0.01"]}
    rows = []
    for side in SIDES:
        part = cells[cells.modality == side]
        mean = {(r.method, r.dataset, r.metric): float(r.value) for r in part.itertuples()}
        for name, rivals in against.items():
            both, drop = (improvement(mean, rivals, SETS, MEASURES[:k]) for k in (2, 1))
            rows.append(dict(zip(IMPROVED, (side, name, both, drop))))
    return pd.DataFrame(rows)


IMPROVED = ("side", "against", "drop and increase", "drop alone")


def improvements(table: pd.DataFrame, *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Ours, with 95 % bootstrap intervals beside the printed figure: side, against, by, printed,
    here, low, high, undefined (share of bootstrap samples where the figure is not finite), n.

    table  rows of `score` for NIB and its rivals; each data set's pairs are drawn anew
    No interval where more than a tenth of the bootstrap samples have no figure.
    """
    rng, sets, mean = np.random.default_rng(seed), list(dict.fromkeys(table.dataset)), {}
    for d in sets:
        part = table[(table.dataset == d) & table.metric.isin(MEASURES)]
        n = part["sample"].nunique()
        draws = np.vstack([np.arange(n), rng.integers(n, size=(resamples, n))])  # first: as it is
        for (side, method, metric), own in part.groupby(["modality", "method", "metric"]):
            mean[side, method, d, metric] = own.value.to_numpy()[draws].mean(1)
    told, rows = printed_improvements().set_index(["side", "against"]), []
    for side in SIDES:
        own = {key[1:]: v for key, v in mean.items() if key[0] == side}
        for name, rivals in (("m2ib", ["m2ib"]), ("best rival", RIVALS)):
            for k, by in ((2, IMPROVED[2]), (1, IMPROVED[3])):
                v = improvement(own, rivals, sets, MEASURES[:k])
                sound = np.isfinite(v)
                ends = np.percentile(v[sound], [2.5, 97.5]) if sound.mean() > 0.9 else [np.nan] * 2
                line = dict(side=side, against=name, by=by, printed=told.loc[(side, name), by])
                line |= dict(here=v[0] if sound[0] else np.nan, low=ends[0], high=ends[1])
                rows.append(line | dict(undefined=1 - sound.mean()))
    return pd.DataFrame(rows).assign(n=table[["dataset", "sample"]].drop_duplicates().shape[0])


def nib_05(gains: pd.DataFrame) -> Verdict:
    """gains: of `improvements`. The printed figure lies in our interval against M2IB, which lies
    above 0 against the best rival."""
    g = gains[gains.by == IMPROVED[2]].set_index("against")
    m2ib, best = g.loc[["m2ib"]], g.loc[["best rival"]]
    inside = (m2ib.low <= m2ib.printed) & (m2ib.printed <= m2ib.high)
    outside = (m2ib.printed < m2ib.low) | (m2ib.printed > m2ib.high)
    why = (
        f"the printed figure lies in our interval for {inside.sum()} sides, undefined for"
        f" {m2ib.here.isna().sum()}; against the best rival it lies above 0 for"
        f" {(best.low > 0).sum()}"
    )
    good, bad = inside.all() and (best.low > 0).all(), outside.any() or (best.high < 0).any()
    return decide("nib-05", good, bad, why, gains, n=int(gains.n.min()))


def nib_06(seconds: dict[str, np.ndarray], *, seed: int = 0) -> Verdict:
    """seconds: method -> one value a pair, both sides together. NIB saves more than half of M2IB's
    time."""
    draws = bootstrap_draws(len(seconds["nib"]), seed=seed)
    saved = 1 - seconds["nib"][draws].mean(1) / seconds["m2ib"][draws].mean(1)
    middle, low, high = np.percentile(saved, [50, 2.5, 97.5])
    why = f"it saves {middle:.0%} [{low:.0%}, {high:.0%}] of M2IB's time"
    return decide("nib-06", low > 0.5, high < 0.5, why, n=len(draws[0]))


def nib_07(seconds: dict[str, np.ndarray]) -> Verdict:
    """seconds: as in `nib_06`. No rival's median is lower by more than 5 %."""
    own = np.median(seconds["nib"])
    faster = [k for k in RIVALS if np.median(seconds[k]) * 1.05 < own]
    why = f"faster: {', '.join(faster) or 'none'}; printed: Chefer is faster on two sets"
    return decide("nib-07", not faster, bool(faster), why, n=len(seconds["nib"]))


def nib_08(costs: pd.DataFrame) -> Verdict:
    """costs: by method, columns "towers forward" and "towers backward". No rival needs as few of
    both."""
    full = costs[["towers forward", "towers backward"]].astype(float)
    cheaper = [k for k in RIVALS if (full.loc[k] <= full.loc["nib"]).all()]
    why = f"no more passes: {', '.join(cheaper) or 'none'}; printed: four methods need 3 forwards"
    return decide("nib-08", not cheaper, bool(cheaper), why)


def nib_09(cost: pd.DataFrame) -> Verdict:
    """cost: a line for each tower, "over one forward" being seconds a map over those of one pass.
    They differ by less than 10 %."""
    over = cost["over one forward"]
    equal = over.max() < 1.1 * over.min()
    why = f"a map costs {over.min():.1f} to {over.max():.1f} forwards"
    return decide("nib-09", equal, not equal, why, cost)


def nib_10(runs: pd.DataFrame) -> Verdict:
    """runs: "side" and "two runs", the largest difference of two runs. It is 0."""
    same = (runs["two runs"] == 0).all()
    apart = f"two runs differ by up to {runs['two runs'].max():.1g}"
    why = "repeated calls are bit-identical on both sides" if same else apart
    return decide("nib-10", same, not same, why, runs)


def nib_11(moved: dict[str, Sequence[float]]) -> Verdict:
    """moved: side -> 1 for each pair whose hottest place is another one with another seed. The
    interval of their share lies above a tenth."""
    found = {side: mean_interval(v) for side, v in moved.items()}
    evidence = [dict(side=s, mean=m, low=low, high=high) for s, (m, low, high) in found.items()]
    why = f"the hottest place moves in {percent({s: v[0] for s, v in found.items()})}"
    good, bad = all(v[1] > 0.1 for v in found.values()), any(v[2] < 0.1 for v in found.values())
    return decide("nib-11", good, bad, why, evidence)


def nib_12(gaps: dict[str, dict[int, torch.Tensor]]) -> Verdict:
    """gaps: side -> nodes -> relative completeness gaps (B,), 10 and 100 among the nodes. Their
    median is below 10 % at 10 nodes and below 1 % at 100."""
    median = {side: {n: by[n].median().item() for n in (10, 100)} for side, by in gaps.items()}
    good = all(m[10] < 0.1 and m[100] < 0.01 for m in median.values())
    said = (f"{s}: median {m[10]:.0%} at 10 nodes, {m[100]:.1%} at 100" for s, m in median.items())
    return decide("nib-12", good, not good, "; ".join(said))


def nib_13(off: float, decisive: float) -> Verdict:
    """off: largest score of a cell without influence; decisive: smallest one of a cell that decides
    alone."""
    good = off < 1e-6 < decisive
    why = f"cells without influence score {off:.1g} at most, a decisive one {decisive:.1g} at least"
    return decide("nib-13", good, not good, why)


def nib_14(apart: dict[str, float]) -> Verdict:
    """apart: how the same network is written -> largest difference of the maps, of the largest
    score."""
    equal = max(apart.values()) < 1e-4
    why = "; ".join(f"{name}: {v:.1g} apart" for name, v in apart.items())
    return decide("nib-14", equal, not equal, why)


def nib_15(off: float, rises: bool) -> Verdict:
    """off: relative error of the sampled divergence; rises: whether it rises with the gate."""
    good = off < 0.01 and rises
    why = f"sampling within {off:.2%} of the closed form, {'' if rises else 'not '}rising"
    return decide("nib-15", good, not good, why)


def nib_16(gaps: Sequence[float], correlations: Sequence[float]) -> Verdict:
    """Both for falling noise: the bound's gap between two gates, and the correlation of the noisy
    map with the noise-free one."""
    shrinks, converges = gaps[-1] < gaps[0], correlations[-1] > 0.999
    why = (
        f"the maps {'converge' if converges else 'do not converge'}, the gap between two gates"
        f" {'shrinks' if shrinks else 'grows'} by a factor of {gaps[-1] / gaps[0]:.0e}"
    )
    return decide("nib-16", shrinks and converges, not (shrinks and converges), why)


def nib_17(paths: dict[str, torch.Tensor]) -> Verdict:
    """paths: side -> S at evenly spaced nodes, (nodes + 1, B). S never falls in nine of ten pairs,
    and half of its change comes after 0.1 in all.

    The verdict's evidence has side, never falls, late: shares of the pairs.
    """
    rows = []
    for side, s in paths.items():
        early = (s[(len(s) - 1) // 10] - s[0]) / (s[-1] - s[0]) > 0.5
        falls = (s.diff(dim=0) < -1e-6).any(0)
        shares = (1 - v.float().mean().item() for v in (falls, early))
        rows.append(dict(zip(("side", "never falls", "late"), (side, *shares))))
    e = pd.DataFrame(rows)
    good = bool((e["never falls"] >= 0.9).all() and (e.late == 1).all())
    why = (
        f"S never falls in {percent(dict(zip(e.side, e['never falls'])))} of the pairs; half of"
        f" its change comes after 0.1 in {percent(dict(zip(e.side, e.late)))}"
    )
    return decide("nib-17", good, not good, why, e)


def nib_18(changes: dict[str, dict[str, torch.Tensor]]) -> Verdict:
    """changes: where cells are taken away -> "most negative" and "random" -> change of the match
    (B,). Taking negative cells away raises the match, and more than random ones."""
    rows = []
    for where, by in changes.items():
        rows.append((where, "nothing", *mean_interval(by["most negative"])))
        rows.append((where, "random cells", *mean_interval(by["most negative"] - by["random"])))
    e = pd.DataFrame(rows, columns=["taken away in the", "against", "mean", "low", "high"])
    good, bad = (e.low > 0).sum(), (e.high < 0).sum()
    why = (
        f"{good} of {len(e)} intervals lie above 0, {bad} below (layer and picture; against nothing"
        " and random cells)"
    )
    return decide("nib-18", good == len(e), bad > 0, why, e)


def nib_21(swept: pd.DataFrame, betas: Sequence[float]) -> Verdict:
    """swept: rows of methods "beta=...". By the rule, and the mean drop rises with beta, the mean
    increase falls, in rank correlation by more than 0.9."""
    order = {}
    for side in SIDES:
        for k in MEASURES:
            level = [values(swept, side, k, f"beta={b:g}").mean() for b in betas]
            order[side, k] = rank_correlation(torch.tensor([level]), torch.tensor([betas])).item()
    steady = all((r if k == "conf-drop" else -r) > 0.9 for (_, k), r in order.items())
    told = (f"{s} {k[5:]} {'flat' if r != r else f'{r:.1f}'}" for (s, k), r in order.items())
    remark = "; rank correlation with β: " + ", ".join(told)
    return ruled("nib-21", swept, remark, also=steady)


def nib_22(alike: dict[str, torch.Tensor]) -> Verdict:
    """alike: side -> rank correlation (B,) of M2IB's maps at the smallest and the largest beta. Its
    interval lies below 0.5."""
    found = {side: mean_interval(v) for side, v in alike.items()}
    why = "; ".join(f"{s}: maps at the ends correlate at {interval_text(alike[s])}" for s in found)
    good, bad = all(v[2] < 0.5 for v in found.values()), any(v[1] > 0.5 for v in found.values())
    return decide("nib-22", good, bad, why, n=min(map(len, alike.values())))


def nib_23(
    swept: pd.DataFrame, ours: Sequence[str], theirs: Sequence[str], *, seed: int = 0
) -> Verdict:
    """ours, theirs: settings of NIB and of M2IB, methods of `swept`. The largest over the smallest
    mean drop is smaller over NIB's settings than over M2IB's."""
    n = len(values(swept, "image", "conf-drop", ours[0]))
    draws = np.vstack([np.arange(n), bootstrap_draws(n, seed=seed)])
    rows = []
    for side in SIDES:
        a, b = (spread(swept, side, names, draws) for names in (ours, theirs))
        low, high = np.percentile((a - b)[1:], [2.5, 97.5])
        rows.append(dict(side=side, nib=a[0], m2ib=b[0], low=low, high=high))
    said = (
        f"{r['side']}: drop varies {r['nib']:.1f}-fold over NIB's settings, {r['m2ib']:.1f}-fold"
        f" over β, difference [{r['low']:.1f}, {r['high']:.1f}]"
        for r in rows
    )
    good, bad = all(r["high"] < 0 for r in rows), any(r["low"] > 0 for r in rows)
    return decide("nib-23", good, bad, "; ".join(said), rows, n=n)


def spread(swept: pd.DataFrame, side: str, names: Sequence[str], draws: np.ndarray) -> np.ndarray:
    """Largest over smallest mean drop of some settings, for each bootstrap sample."""
    means = np.stack([values(swept, side, "conf-drop", k)[draws].mean(1) for k in names])
    return means.max(0) / means.min(0).clip(min=0.01)


def standing(swept: pd.DataFrame, side: str, metric: str, names: Sequence[str], usual: str) -> str:
    """Where a setting stands by its mean: "best", "worse than" the best, or not told apart from
    it."""
    sign = 1 if metric == "conf-drop" else -1
    own = {k: sign * values(swept, side, metric, k) for k in names}
    first = min(names, key=lambda k: own[k].mean())
    if first == usual:
        return "best"
    apart = mean_interval(own[usual] - own[first])[1] > 0
    return f"worse than {first}" if apart else f"not told apart from {first}"


def nib_24(swept: pd.DataFrame, counts: Sequence[int]) -> Verdict:
    """swept: methods "steps=...". Ten steps have the best drop, and no later count is better by
    more than 2 %."""
    names = [f"steps={n:g}" for n in counts]
    drop = {(s, k): values(swept, s, "conf-drop", k).mean() for s in SIDES for k in names}
    ten = {s: standing(swept, s, "conf-drop", names, "steps=10") for s in SIDES}
    after = [f"steps={n:g}" for n in counts if n > 10]
    later = {s: min(drop[s, k] for k in after) / drop[s, "steps=10"] for s in SIDES}
    why = "; ".join(
        f"{s}: ten steps are {ten[s]}, the best later count has {later[s]:.0%} of their drop"
        for s in SIDES
    )
    good = all(v == "best" for v in ten.values()) and min(later.values()) > 0.98
    return decide("nib-24", good, any(v.startswith("worse") for v in ten.values()), why)


def nib_25(swept: pd.DataFrame, precise: pd.DataFrame) -> Verdict:
    """precise: side, steps, gap, correlation, steps rising. The gap falls, the correlation rises,
    and the drop at 20 steps is below that at 5."""
    by = precise.groupby("side")
    falls, rises = by.gap.last() < by.gap.first(), by.correlation.last() > by.correlation.first()
    exact = bool((falls & rises).all())
    few, many = ({s: values(swept, s, "conf-drop", f"steps={n}") for s in SIDES} for n in (5, 20))
    differences = {f"{s}, 5 minus 20 steps": few[s] - many[s] for s in SIDES}
    return compared("nib-25", differences, f"; gap falls and map settles: {exact}", also=exact)


def nib_26(swept: pd.DataFrame, layers: Sequence[int]) -> Verdict:
    """swept: methods "layer=...". Layer 9 of 12 is the best by drop, increase and IoU."""
    names = [f"layer={v:g}" for v in layers]
    judged = [(s, k) for s in SIDES for k in MEASURES] + [("image", "iou")]
    nine = {(s, k): standing(swept, s, k, names, "layer=9") for s, k in judged}
    why = "; ".join(f"{s} {k}: {v}" for (s, k), v in nine.items())
    good = all(v == "best" for v in nine.values())
    bad = any(v.startswith("worse") for v in nine.values())
    return decide("nib-26", good, bad, why + "; printed: last or last but one in image drop")


def nib_27(swept: pd.DataFrame) -> Verdict:
    """swept: methods "layer=3", "layer=6" and "layer=9". The drop is larger at both earlier
    layers."""
    drop = {(s, v): values(swept, s, "conf-drop", f"layer={v}") for s in SIDES for v in (3, 6, 9)}
    early = {f"{s}, layer {v} minus 9": drop[s, v] - drop[s, 9] for s in SIDES for v in (3, 6)}
    return compared("nib-27", early, "; printed: image drops are lower at 3 and 6")


def nib_28(table: pd.DataFrame) -> Verdict:
    """Methods made for one modality do worse than M2IB and NIB, by image drop, IoU and text
    drop."""
    worse = {}
    for side, metric, sign in (
        ("image", "conf-drop", 1),
        ("image", "iou", -1),
        ("text", "conf-drop", 1),
    ):
        for a in ("rise", "grad-cam", "saliency", "mfaba", "fast-ig"):
            for b in ("m2ib", "nib"):
                one, two = (values(table, side, metric, k) for k in (a, b))
                worse[f"{side} {metric}: {a}, {b}"] = sign * (one - two)
    return compared("nib-28", worse, "; printed: RISE is ahead of M2IB in text drop")


def nib_29(off: dict[str, float], apart: dict[str, float], stray: float) -> Verdict:
    """off: side -> median relative gap of MFABA's sum to the fall along its walk; apart: as in
    `nib_14`; stray: what cells without influence get, of what the decisive one gets."""
    good = max(off.values()) < 0.05 and max(apart.values()) < 1e-4 and stray < 1e-6
    rest = ", ".join(f"{v:.1g} ({k})" for k, v in apart.items())
    why = (
        f"sum off by {percent(off, 1)}; equal networks: {rest} apart; beside the planted cell"
        f" {stray:.1g}"
    )
    return decide("nib-29", good, not good, why)


def nib_30(steady: dict[str, torch.Tensor]) -> Verdict:
    """steady: method -> rank correlation (B,) of its maps with and without noise on the picture. It
    is lower for Saliency than for NIB and M2IB."""
    differences = {
        f"{k} minus saliency": (steady[k] - steady["saliency"]).numpy() for k in ("nib", "m2ib")
    }
    return compared("nib-30", differences)
