"""NIB's claims, a function each: evidence in, verdict out.

`table` is rows of `score` or `evaluate`, its methods and metrics named as in reference.csv; `swept`
is the same with settings for methods, such as "steps=10", "layer=9" and "beta=0.1", its data sets
taken together. `clusters` names the picture behind each pair, on both sides in one order; None:
each pair has its own. The first sentence of a docstring says what decides the claim; "beyond
chance" is by 95 % intervals.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...stats import Estimate, jackknife, ratio, slope
from ..evidence import parts, reads
from ..sources import published, read
from ..statistics import (
    Verdict,
    by_rule,
    compared,
    comparisons,
    exact,
    judge,
    paired,
    untestable,
)

SETS = ("conceptual-captions", "imagenet", "flickr8k")
RIVALS = ("m2ib", "rise", "grad-cam", "chefer", "saliency", "mfaba", "fast-ig")
UNIMODAL = ("rise", "grad-cam", "saliency", "mfaba", "fast-ig")
MEASURES = ("conf-drop", "conf-incr")
SIDES = ("image", "text")
ALL = ", ".join(RIVALS)

# nib-05: the abstract's two figures in %, and how far ours may lie from them.
PRINTED = {"image": 9.0, "text": 58.83}
NEAR = 5.0
# nib-24, nib-26: how much worse the usual setting may be than another one and still be the best:
# the ratio of mean drops, points of increase, IoU.
NO_WORSE = {"conf-drop": 1.02, "conf-incr": 5.0, "iou": 0.02}


# What each claim takes of the rows of its studies. A unit is a picture with its caption.


def by_side(rows: pd.DataFrame, by: str, column: str) -> dict[str, dict]:
    """side -> value of `by` -> a column's values, one a unit, in one order."""
    found = {}
    for (side, key), some in rows.groupby(["side", by], sort=False):
        found.setdefault(side, {})[key] = some.sort_values("unit")[column].to_numpy()
    return found


def numbered(swept: pd.DataFrame, what: str) -> list[float]:
    """The settings of a sweep, rising: 3, 5, ... of "steps=3", "steps=5", ..."""
    found = swept.method.str.extract(rf"^{what}=(.+)$")[0].dropna().unique()
    return sorted(float(v) if what == "beta" else int(v) for v in found)


def of_betas(swept: pd.DataFrame) -> dict:
    return dict(swept=swept, betas=numbered(swept, "beta"))


def of_steps(swept: pd.DataFrame) -> dict:
    return dict(swept=swept, counts=numbered(swept, "steps"))


def of_layers(swept: pd.DataFrame) -> dict:
    return dict(swept=swept, layers=numbered(swept, "layer"))


def of_both(swept: pd.DataFrame) -> dict:
    ours = [f"{what}={v:g}" for what in ("steps", "layer") for v in numbered(swept, what)]
    return dict(swept=swept, ours=ours, theirs=[f"beta={v:g}" for v in numbered(swept, "beta")])


def of_sums(rows: pd.DataFrame) -> dict:
    rows = rows[rows.nodes.notna()]
    gaps = rows.assign(gap=(rows.total - rows.change).abs() / rows.change.abs())
    return dict(gaps=by_side(gaps.astype({"nodes": int}), "nodes", "gap"))


def of_paths(rows: pd.DataFrame) -> dict:
    found = by_side(rows[rows["at"].notna()], "at", "similarity")
    return dict(paths={side: np.stack([by[t] for t in sorted(by)]) for side, by in found.items()})


def of_precision(swept: pd.DataFrame, rows: pd.DataFrame) -> dict:
    """The counts of steps that were both swept and walked."""
    rows = rows[rows.nodes.isin(numbered(swept, "steps"))].astype({"nodes": int})
    close = by_side(rows, "nodes", "correlation")
    return dict(swept=swept, gaps=of_sums(rows)["gaps"], close=close)


def of_seconds(rows: pd.DataFrame) -> dict:
    both = rows.groupby(["unit", "method"]).seconds.sum().unstack()
    return dict(seconds={method: both[method].to_numpy() for method in both})


def of_passes(rows: pd.DataFrame) -> dict:
    costs = rows[rows.part == "passes"].set_index("method")
    names = {f"towers_{way}": f"towers {way}" for way in ("forward", "backward")}
    return dict(costs=costs.rename(columns=names))


def of_towers(rows: pd.DataFrame) -> dict:
    return dict(passes=rows[rows.part == "towers"])


def of_runs(rows: pd.DataFrame) -> dict:
    most = rows[rows.part == "runs"].groupby("side", sort=False).two_runs.max()
    return dict(runs=most.rename("two runs").reset_index())


def of_seeds(rows: pd.DataFrame) -> dict:
    found = by_side(rows[(rows.part == "m2ib") & rows.seed.gt(0)], "seed", "moved")
    return dict(moved={side: np.stack([*by.values()], 1) for side, by in found.items()})


def of_ends(rows: pd.DataFrame) -> dict:
    rows = rows[(rows.part == "m2ib") & rows.low.notna()]
    ends = rows[(rows.low == rows.low.min()) & (rows.high == rows.high.max())]
    alike = by_side(ends, "high", "correlation")
    return dict(alike={side: by[rows.high.max()] for side, by in alike.items()})


def of_noise(rows: pd.DataFrame) -> dict:
    rows = rows[rows.part == "noise"].assign(side="image")
    return dict(steady=by_side(rows, "method", "correlation")["image"])


def of_planted(rows: pd.DataFrame) -> dict:
    found = rows[(rows.part == "planted") & (rows.method == "nib")]
    return dict(planted={r.encoder: (r.stray, r.decisive) for r in found.itertuples()})


def of_rewritten(rows: pd.DataFrame, method: str = "nib") -> dict:
    """The largest difference of all pictures."""
    found = rows[(rows.part == "rewritten") & (rows.method == method)]
    return dict(apart=found.groupby("form", sort=False).apart.max().to_dict())


def of_divergence(rows: pd.DataFrame) -> dict:
    """Means over all pictures."""
    found = rows[rows["sampled"].notna()].groupby(["sigma", "gate"])[["closed", "sampled"]].mean()
    each = {name: {s: v.to_list() for s, v in found[name].groupby("sigma")} for name in found}
    return dict(closed=each["closed"], drawn=each["sampled"])


def of_vanishing(rows: pd.DataFrame) -> dict:
    """The mean gap and the smallest correlation of all pictures, for falling noise."""
    by = rows[rows.gap.notna()].groupby("sigma")
    gaps, near = by.gap.mean()[::-1], by.correlation.min()[::-1]
    return dict(gaps=gaps.to_list(), correlations=near.to_list())


def of_removals(rows: pd.DataFrame) -> dict:
    rows = rows[rows.part == "cells"]
    return dict(changes=by_side(rows.assign(side=rows["where"]), "cells", "change"))


def of_places(rows: pd.DataFrame) -> dict:
    rows = rows[rows.part == "single places"]
    same = dict(dataset="single places", model="", metric="map-spearman")
    own = dict(modality=rows.side, sample=rows.unit.astype(str), value=rows.correlation)
    return dict(table=rows[["method"]].assign(**same, **own))


def of_mfaba(rows: pd.DataFrame) -> dict:
    sums = rows[rows.part == "mfaba"]
    off = by_side(
        sums.assign(off=(sums.total - sums.fall).abs() / sums.fall.abs(), of=0), "of", "off"
    )
    planted = rows[(rows.part == "planted") & (rows.method == "mfaba")].iloc[0]
    apart = of_rewritten(rows, "mfaba")
    return dict(
        off={side: by[0] for side, by in off.items()},
        stray=planted.stray / planted.decisive,
        **apart,
    )


def of_criteria(rows: pd.DataFrame) -> dict:
    """A criterion is met where all pairs say so."""
    met = rows[rows.part == "criteria"].groupby(["method", "criterion"]).met.all()
    return dict(found={method: by.droplevel(0).to_dict() for method, by in met.groupby("method")})


@reads("nib-tables")
def nib_01(table: pd.DataFrame) -> Verdict:
    """NIB's image drop lies below that of each of the seven rivals on every data set."""
    remark = "; printed: M2IB at beta = 0.01 is ahead of NIB"
    return by_rule("nib-01", table, f"image conf-drop: nib < {ALL}", remark=remark)


@reads("nib-tables")
def nib_02(table: pd.DataFrame) -> Verdict:
    """NIB's image increase lies above that of each of the seven rivals on every data set."""
    remark = "; printed: RISE is ahead on ImageNet"
    return by_rule("nib-02", table, f"image conf-incr: nib > {ALL}", remark=remark)


@reads("nib-tables")
def nib_03(table: pd.DataFrame) -> Verdict:
    """NIB's text drop lies below that of each of the seven rivals on every data set, both where the
    upper half of the tokens stays (conf-drop) and where embeddings are weighted (conf-drop-nib)."""
    rule = f"text conf-drop: nib < {ALL}; text conf-drop-nib: nib < {ALL}"
    return by_rule("nib-03", table, rule)


@reads("nib-tables")
def nib_04(table: pd.DataFrame) -> Verdict:
    """NIB's text increase lies above that of each of the seven rivals on every data set, by both
    text protocols (conf-incr and conf-incr-nib)."""
    rule = f"text conf-incr: nib > {ALL}; text conf-incr-nib: nib > {ALL}"
    return by_rule("nib-04", table, rule, remark="; printed: Chefer is ahead on CC")


@reads("nib-tables")
def nib_05(table: pd.DataFrame) -> Verdict:
    """NIB's mean improvement on M2IB lies within 5 points of the printed 9 % (image) and 58.83 %
    (text), and that on each of the seven rivals, and so on the best of them, lies above 0.

    The improvement (`improvement`) is a ratio of means over all data sets together, its interval a
    jackknife over pictures; open where it does not exist, such as where no pair of a data set
    gains.
    """
    lines = []
    for side in SIDES:
        what = {"comparison": f"{side}: improvement on M2IB, %"}
        found = improved(table, side, ["m2ib"])
        lines.append(compared(what, found, "=", PRINTED[side], margin=NEAR))
        for rival in RIVALS:
            what = {"comparison": f"{side}: improvement on {rival}, %"}
            lines.append(compared(what, improved(table, side, [rival]), ">"))
    return judge("nib-05", lines, remark="; printed: 5.5 and 33.7 on the best rival of each cell")


def improvement(
    mean: dict, rivals: Sequence[str], sets: Sequence[str], measures: Sequence[str] = MEASURES
) -> float:
    """The abstract's figure, in %: the mean over data sets and measures of 1 - NIB/rival (drop) and
    1 - rival/NIB (increase), against the best rival of each data set and measure.

    mean    (method, data set, measure) -> mean value
    rivals  one: against it alone
    Not finite where NIB's increase or a rival's drop is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = []
        for d in sets:
            if "conf-drop" in measures:
                best = np.min([mean[r, d, "conf-drop"] for r in rivals])
                shares.append(1 - mean["nib", d, "conf-drop"] / best)
            if "conf-incr" in measures:
                best = np.max([mean[r, d, "conf-incr"] for r in rivals])
                shares.append(1 - best / mean["nib", d, "conf-incr"])
        return float(100 * np.mean(shares))


def improved(
    table: pd.DataFrame, side: str, rivals: Sequence[str], measures: Sequence[str] = MEASURES
) -> Estimate:
    """Our `improvement` on one side: a jackknife over the pictures of all data sets together."""
    needed = table.method.isin({"nib", *rivals}) & table.metric.isin(measures)
    rows = pooled(table[needed & (table.modality == side)])
    index = ["home", "cluster", "sample"]
    wide = rows.pivot(index=index, columns=["method", "metric"], values="value").dropna()
    home, clusters = (wide.index.get_level_values(k).to_numpy() for k in ("home", "cluster"))
    sets = list(dict.fromkeys(home))

    def statistic(values: np.ndarray, home: np.ndarray) -> float:
        mean = {}
        for d in sets:
            means = values[home == d].sum(0) / (home == d).sum()
            mean |= {(method, d, metric): v for (method, metric), v in zip(wide, means)}
        return improvement(mean, rivals, sets, measures)

    return jackknife(statistic, wide.to_numpy(), home, clusters=clusters)


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all data sets as rows of one, "all"; the column `home` keeps where each comes
    from."""
    picture = table["cluster"].fillna(table["sample"]) if "cluster" in table else table["sample"]
    prefix = table.dataset.astype(str) + "/"
    names = dict(home=table.dataset, sample=prefix + table["sample"], cluster=prefix + picture)
    return table.assign(dataset="all", **names)


def improvements(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the printed figure, to be read: side, against, by, printed, here, low, high, n;
    against M2IB and against the best rival of each data set and measure. NaN where it does not
    exist."""
    told, rows = printed_improvements().set_index(["side", "against"]), []
    for side in SIDES:
        for against, rivals in (("m2ib", ["m2ib"]), ("best rival", RIVALS)):
            for by, measures in ((IMPROVED[2], MEASURES), (IMPROVED[3], MEASURES[:1])):
                found = improved(table, side, rivals, measures)
                line = dict(side=side, against=against, by=by)
                line |= dict(printed=told.loc[(side, against), by], here=found.mean)
                rows.append(line | dict(low=found.low, high=found.high, n=found.n))
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)


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


@reads("nib-seconds", given=of_seconds)
def nib_06(seconds: dict[str, np.ndarray], *, clusters=None) -> Verdict:
    """NIB saves more than 50 % of M2IB's time: 1 - NIB's mean seconds over M2IB's lies above 0.5
    beyond chance, by a jackknife over pictures.

    seconds  method -> (pairs,), both sides of a pair together, the median where they were repeated
    """
    pair = (np.asarray(seconds[k], float) for k in ("nib", "m2ib"))
    saved = jackknife(lambda own, other: 1 - ratio(own, other), *pair, clusters=clusters)
    line = compared({"comparison": "share of M2IB's time that NIB saves"}, saved, ">", 0.5)
    return judge("nib-06", [line], remark="; printed: 64 %")


@reads("nib-seconds", given=of_seconds)
def nib_07(seconds: dict[str, np.ndarray], *, clusters=None) -> Verdict:
    """Each rival takes longer than NIB: its mean seconds over NIB's lie above 1 beyond chance, by a
    jackknife over the pictures of all data sets together; seconds as in `nib_06`."""
    own = np.asarray(seconds["nib"], float)
    lines = []
    for rival in RIVALS:
        times = np.asarray(seconds[rival], float)
        found = jackknife(ratio, times, own, clusters=clusters)
        lines.append(compared({"comparison": f"{rival}'s time over NIB's"}, found, ">", 1))
    return judge("nib-07", lines, remark="; printed: Chefer is faster on two sets")


@reads("nib-properties", given=of_passes)
def nib_08(costs: pd.DataFrame) -> Verdict:
    """NIB's forward and backward passes together are fewer than each rival's.

    costs  by method, the columns "towers forward" and "towers backward": passes of a pair, both
           sides, in whole towers; counted, not sampled
    """
    total = costs[["towers forward", "towers backward"]].astype(float).sum(axis=1, skipna=False)
    lines = [
        exact({"comparison": f"{k}'s passes minus NIB's"}, total[k] - total["nib"], ">")
        for k in RIVALS
    ]
    return judge("nib-08", lines, remark="; printed: four methods need 3 forwards")


@reads("nib-properties", given=of_towers)
def nib_09(passes: pd.DataFrame) -> Verdict:
    """NIB's forward passes a map are the same on every line, and so are its backward passes.

    passes  forwards and backwards of one map, a line for each encoder (two depths and widths at
            least) and each size of the set of pairs (two at least), with its name in `of`; counted,
            not sampled. Seconds do not decide
    """
    first, lines = passes.iloc[0], []
    for _, row in passes.iloc[1:].iterrows():
        for kind in ("forwards", "backwards"):
            what = {"comparison": f"{kind} on {row.of} minus those on {first.of}"}
            lines.append(exact(what, row[kind] - first[kind], "="))
    return judge("nib-09", lines)


@reads("nib-stability", given=of_runs)
def nib_10(runs: pd.DataFrame) -> Verdict:
    """Two runs differ nowhere, by not a single bit, on either side.

    runs  "side", and "two runs": the largest difference of two runs of all pairs; not sampled
    """
    lines = [
        exact({"comparison": f"{row['side']}: two runs, largest difference"}, row["two runs"], "=")
        for _, row in runs.iterrows()
    ]
    return judge("nib-10", lines)


@reads("nib-stability", given=of_seeds)
def nib_11(moved: dict[str, Sequence], *, clusters=None) -> Verdict:
    """With another seed M2IB's hottest place is another one in more than a tenth of the pairs,
    beyond chance and on both sides.

    moved  side -> (pairs, seeds) yes/no: whether the hottest place of each further seed is not that
           of the first seed. All seeds of a picture count as one trial: 46 pictures of each
           side where nothing moves speak against the claim, fewer leave it open
    """
    lines = []
    for side, yes in moved.items():
        each = np.asarray(yes, float).reshape(len(yes), -1)
        pictures = np.arange(len(each)) if clusters is None else np.asarray(clusters)
        where = np.repeat(pictures, each.shape[1])
        lines.append(share(f"{side}: the hottest place moves", each.ravel(), 0.1, where))
    return judge("nib-11", lines)


def share(what: str, yes, bound: float, clusters=None) -> dict:
    """The line that the share of `yes` lies above a bound, by Wilson's interval."""
    values = np.asarray(yes, float)
    return compared({"comparison": what}, values, ">", bound, clusters=clusters, among=(0.0, 1.0))


@reads("nib-walks", given=of_sums)
def nib_12(gaps: dict[str, dict[int, Sequence]], *, clusters=None) -> Verdict:
    """In more than half of the pairs, beyond chance, the relative completeness gap is below 10 % at
    10 nodes and below 1 % at 100, on both sides: so is their median.

    gaps  side -> nodes -> (pairs,), 10 and 100 among the nodes
    """
    lines = []
    for side, by in gaps.items():
        for nodes, most in ((10, 0.1), (100, 0.01)):
            what = f"{side}: pairs with a gap below {most:.0%} at {nodes} nodes"
            lines.append(share(what, np.asarray(by[nodes]) < most, 0.5, clusters))
    return judge("nib-12", lines)


@reads("nib-properties", given=of_planted)
def nib_13(planted: dict[str, tuple[float, float]]) -> Verdict:
    """On every planted encoder cells without influence score below 1e-6, and the one that decides
    scores above it.

    planted  encoder -> (largest score of a cell without influence, smallest of one that decides
             alone); exact, nothing is sampled
    """
    lines = []
    for name, (off, decisive) in planted.items():
        lines.append(exact({"comparison": f"{name}: cells without influence"}, off, "<", 1e-6))
        lines.append(exact({"comparison": f"{name}: the decisive cell"}, decisive, ">", 1e-6))
    return judge("nib-13", lines)


@reads("nib-properties", given=of_rewritten)
def nib_14(apart: dict[str, float]) -> Verdict:
    """Every rewritten network has the map of the original within 1e-4 of its largest score.

    apart  how the same network is written -> largest difference of the two maps, of the largest
           score; exact, nothing is sampled
    """
    return judge("nib-14", same_maps(apart))


def same_maps(apart: dict[str, float]) -> list[dict]:
    """The lines that networks written in other ways have equal maps."""
    return [exact({"comparison": f"{k}: maps apart"}, v, "<", 1e-4) for k, v in apart.items()]


@reads("nib-properties", given=of_divergence)
def nib_15(closed: dict[float, Sequence[float]], drawn: dict[float, Sequence[float]]) -> Verdict:
    """The divergence is 0 where the gate is, the sampled one lies within 1 % of the closed form at
    every other gate, and it rises from each gate to the next.

    closed, drawn  sigma -> the divergence at rising gates from 0 on, in nats: by its formula, and
                   sampled so often that its chance does not matter
    """
    lines = []
    for sigma in closed:
        formula, sampled = (np.asarray(v[sigma], float) for v in (closed, drawn))
        off = np.abs(sampled[1:] / formula[1:] - 1).max()
        step = (np.diff(sampled) / formula[1:]).min()
        lines += [
            exact({"comparison": f"sigma {sigma:g}: divergence of a shut gate"}, formula[0], "="),
            exact({"comparison": f"sigma {sigma:g}: sampled, relative error"}, off, "<", 0.01),
            exact({"comparison": f"sigma {sigma:g}: smallest relative rise"}, step, ">"),
        ]
    return judge("nib-15", lines)


@reads("nib-properties", given=of_vanishing)
def nib_16(gaps: Sequence[float], correlations: Sequence[float]) -> Verdict:
    """False by algebra: the gap between two gates is proportional to 1/sigma^2, so it grows as the
    noise vanishes. Computed all the same: the claim wants the gap at the smallest noise below that
    at the largest, and the noisy map's correlation with the noise-free one above 0.999.

    gaps, correlations  both for falling noise; exact
    """
    ratio = {"comparison": "gap at the smallest noise over that at the largest"}
    ratio |= {"algebra": "proportional to 1/sigma^2, so it grows"}
    close = {"comparison": "correlation of the noisy map with the noise-free one"}
    lines = [
        exact(ratio, gaps[-1] / gaps[0], "<", 1),
        exact(close, correlations[-1], ">", 0.999),
    ]
    return judge("nib-16", lines, remark="; the gap is proportional to 1/sigma^2")


@reads("nib-walks", given=of_paths)
def nib_17(paths: dict[str, Sequence], *, clusters=None) -> Verdict:
    """In more than 90 % of the pairs, beyond chance and on both sides, S never falls from the shut
    to the open gate, and half of its change comes after a gate of 0.1.

    paths  side -> S at evenly spaced gates from 0 to 1, (nodes + 1, pairs)
    It takes 35 pictures that all agree to show this; it fails where the share is certainly less.
    """
    lines = []
    for side, path in paths.items():
        for what, yes in (("S never falls", rising(path)), ("half of it after 0.1", late(path))):
            lines.append(share(f"{side}: {what}", yes, 0.9, clusters))
    return judge("nib-17", lines)


def rising(path) -> np.ndarray:
    """Whether each pair's S (nodes + 1, pairs) never falls by more than rounding, (pairs,)."""
    return (np.diff(np.asarray(path, float), axis=0) >= -1e-6).all(0)


def late(path) -> np.ndarray:
    """Whether at a gate of 0.1 at most half of each pair's change is done, (pairs,)."""
    s = np.asarray(path, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (s[(len(s) - 1) // 10] - s[0]) / (s[-1] - s[0]) <= 0.5


@reads("nib-signs", given=of_removals)
def nib_18(changes: dict[str, dict[str, Sequence]], *, clusters=None) -> Verdict:
    """Taking the most negative cells away raises the match, and raises it more than taking random
    ones away, in the layer and in the picture.

    changes  where they are taken away -> "most negative" and "random" -> change of the match
             (pairs,)
    """
    lines = []
    for where, by in changes.items():
        negative, chance = (np.asarray(by[k], float) for k in ("most negative", "random"))
        for against, values in (("", negative), (" - random", negative - chance)):
            what = {"comparison": f"{where}: most negative cells{against}"}
            lines.append(compared(what, values, ">", clusters=clusters))
    return judge("nib-18", lines)


@reads("nib-signs", given=parts("named"))
def nib_19(table: pd.DataFrame) -> Verdict:
    """NIB's contrast (mean on the named thing minus that on the other one) lies above M2IB's."""
    return by_rule("nib-19", table, "mask-contrast: nib > m2ib")


@reads("nib-signs", given=of_places)
def nib_20(table: pd.DataFrame) -> Verdict:
    """NIB's map correlates better than M2IB's with what taking single places away costs
    (map-spearman), on both sides."""
    return by_rule("nib-20", table, on_both_sides("map-spearman: nib > m2ib"))


def on_both_sides(*clauses: str) -> str:
    """A rule that asks for its clauses on images and on texts."""
    return "; ".join(f"{side} {clause}" for side in SIDES for clause in clauses)


@reads("nib-sweeps", given=of_betas)
def nib_21(swept: pd.DataFrame, betas: Sequence[float]) -> Verdict:
    """M2IB's drop is higher at the largest beta than at the smallest, and the least-squares line of
    drop over the rank of beta rises in the lower half of the betas and in the upper one; the
    increase falls likewise; all on both sides.

    betas  rising, at least three; the halves share the beta in the middle
    """
    first, last, middle = betas[0], betas[-1], len(betas) // 2
    lines = []
    for side in SIDES:
        for metric, op in zip(MEASURES, "><"):
            clause = f"{side} {metric}: beta={last:g} {op} beta={first:g}"
            lines += comparisons("nib-21", clause, pooled(swept))
            for half, some in (("lower", betas[: middle + 1]), ("upper", betas[middle:])):
                what = {"comparison": f"{side} {metric}: slope over the {half} betas"}
                lines.append(compared(what, trend(swept, side, metric, some), op))
    return judge("nib-21", lines)


def trend(swept: pd.DataFrame, side: str, metric: str, betas: Sequence[float]) -> Estimate:
    """The slope of a metric over the rank of beta; all values of a picture are one unit."""
    wide, clusters = settings(swept, side, metric, [f"beta={b:g}" for b in betas])
    ranks = np.tile(np.arange(len(betas)), len(wide))
    return slope(ranks, wide.to_numpy().ravel(), clusters=np.repeat(clusters, len(betas)))


def values(table: pd.DataFrame, side: str, metric: str, method: str) -> np.ndarray:
    """One value a pair, in the table's order."""
    rows = (table.modality == side) & (table.metric == metric) & (table.method == method)
    return table[rows].value.to_numpy()


def settings(
    table: pd.DataFrame, side: str, metric: str, names: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """A metric's values, one row a pair and one column for each of the methods, and the pictures.
    Raises ValueError where one of them is missing."""
    chosen = (table.modality == side) & (table.metric == metric) & table.method.isin(names)
    wide, clusters = paired(pooled(table[chosen]))
    if not len(wide) or (missing := set(names) - set(wide)):
        lacking = ", ".join(sorted(missing)) if len(wide) else "pairs with a value of each"
        raise ValueError(f"the table has no {side} {metric} of {lacking}")
    return wide[list(names)], clusters


@reads("nib-stability", given=of_ends)
def nib_22(alike: dict[str, Sequence[float]], *, clusters=None) -> Verdict:
    """The rank correlation of M2IB's maps at the smallest and the largest beta lies below 0.5 on
    both sides.

    alike  side -> (pairs,); NaN, where a map is constant, is left out
    """
    lines = [
        below(f"{side}: correlation of the maps at both ends", values, 0.5, clusters)
        for side, values in alike.items()
    ]
    return judge("nib-22", lines)


def below(what: str, values, bound: float, clusters=None) -> dict:
    """The line that the mean of some values lies below a bound; NaN among them are left out."""
    values = np.asarray(values, float)
    there = np.isfinite(values)
    some = None if clusters is None else np.asarray(clusters)[there]
    return compared({"comparison": what}, values[there], "<", bound, clusters=some)


@reads("nib-sweeps", given=of_both)
def nib_23(swept: pd.DataFrame, ours: Sequence[str], theirs: Sequence[str]) -> Verdict:
    """The largest over the smallest mean drop of NIB's settings lies below that of M2IB's, on both
    sides, by a jackknife over pictures.

    ours, theirs  settings of NIB and of M2IB, methods of `swept`. Of equally sensitive methods the
                  one with more settings varies a little more, by chance
    """
    lines = []
    for side in SIDES:
        (a, clusters), (b, _) = (settings(swept, side, "conf-drop", k) for k in (ours, theirs))
        values = a.to_numpy(), b.to_numpy()
        found = jackknife(lambda a, b: spread(a) - spread(b), *values, clusters=clusters)
        told = f"{spread(values[0]):.2f} and {spread(values[1]):.2f}"
        what = {"comparison": f"{side}: NIB's spread of drops minus M2IB's ({told})"}
        lines.append(compared(what, found, "<"))
    return judge("nib-23", lines)


def spread(values: np.ndarray) -> float:
    """Largest over smallest mean of some settings, (pairs, settings); means below 0.01 count as
    that."""
    means = values.mean(0).clip(min=0.01)
    return means.max() / means.min()


@reads("nib-sweeps", given=of_steps)
def nib_24(swept: pd.DataFrame, counts: Sequence[int]) -> Verdict:
    """The mean drop at ten steps is less than 2 % above that at each other count, smaller or
    larger, on both sides, by a jackknife of the ratio over pictures.

    counts  the numbers of steps. Not worse by 2 % is what "best" and "marginal" mean here; the
            claim fails where ten steps are certainly worse by more than that
    """
    lines = [
        no_worse(swept, side, "conf-drop", "steps=10", f"steps={n:g}")
        for side in SIDES
        for n in counts
        if n != 10
    ]
    return judge("nib-24", lines, remark="; printed: text drop is lowest at 5 steps")


def no_worse(swept: pd.DataFrame, side: str, metric: str, usual: str, other: str) -> dict:
    """The line that one setting is not worse than another by more than `NO_WORSE`: of drops the
    ratio of the means, of increases and IoU their difference."""
    wide, clusters = settings(swept, side, metric, [usual, other])
    a, b = wide.to_numpy().T
    most, what = NO_WORSE[metric], {"comparison": f"{side} {metric}: {usual} - {other}"}
    if metric == "conf-drop":
        what = {"comparison": f"{side} {metric}: {usual} over {other}"}
        return compared(what, jackknife(ratio, a, b, clusters=clusters), "<", most)
    among = (-100.0, 0.0, 100.0) if metric == "conf-incr" else None
    return compared(what, a - b, ">", -most, clusters=clusters, among=among)


@reads("nib-sweeps", "nib-walks", given=of_precision)
def nib_25(
    swept: pd.DataFrame,
    gaps: dict[str, dict[int, Sequence]],
    close: dict[str, dict[int, Sequence]],
    *,
    clusters=None,
) -> Verdict:
    """With the most steps instead of the fewest the completeness gap is smaller and the map closer
    to the finest one in more than half of the pairs, and the drop is lower at 20 steps than at 5;
    each beyond chance and on both sides.

    gaps, close  side -> steps -> (pairs,): relative completeness gap, and rank correlation with the
                 map of the most steps that were walked
    """
    lines = []
    for side in gaps:
        few, many = min(gaps[side]), max(gaps[side])
        falls = np.asarray(gaps[side][many]) < np.asarray(gaps[side][few])
        nears = np.asarray(close[side][many]) > np.asarray(close[side][few])
        steps = f"with {many} steps than with {few}"
        lines.append(share(f"{side}: pairs with a smaller gap {steps}", falls, 0.5, clusters))
        lines.append(share(f"{side}: pairs with a closer map {steps}", nears, 0.5, clusters))
        clause = f"{side} conf-drop: steps=20 < steps=5"
        lines += comparisons("nib-25", clause, pooled(swept))
    return judge("nib-25", lines)


@reads("nib-sweeps", given=of_layers)
def nib_26(swept: pd.DataFrame, layers: Sequence[int]) -> Verdict:
    """Layer 9 of 12 is less than 2 % of the mean drop, 5 points of increase (both sides) and 0.02
    of IoU (image) worse than each other layer.

    layers  the layers of 12. It fails where layer 9 is certainly worse by more than that
    IoU is left out where no set of the table says where things are.
    """
    judged = [(side, metric) for side in SIDES for metric in MEASURES]
    judged += [("image", "iou")] if "iou" in set(swept.metric) else []
    lines = [
        no_worse(swept, side, metric, "layer=9", f"layer={v:g}")
        for side, metric in judged
        for v in layers
        if v != 9
    ]
    return judge("nib-26", lines, remark="; printed: last or last but one in image drop")


@reads("nib-sweeps")
def nib_27(swept: pd.DataFrame) -> Verdict:
    """The drop at layers 3 and 6 lies above that at layer 9, on both sides."""
    rule = on_both_sides("conf-drop: layer=3 > layer=9", "conf-drop: layer=6 > layer=9")
    remark = "; printed: image drops are lower at 3 and 6"
    return by_rule("nib-27", pooled(swept), rule, remark=remark)


@reads("nib-tables")
def nib_28(table: pd.DataFrame) -> Verdict:
    """RISE, Grad-CAM, Saliency, MFABA and FastIG have higher image and text drops and a lower IoU
    than M2IB and than NIB, over all data sets together.

    IoU is left out where no set of the table says where things are.
    """
    rules = ["image conf-drop: {} > m2ib, nib", "text conf-drop: {} > m2ib, nib"]
    if "iou" in set(table.metric):
        rules.insert(1, "image iou: {} < m2ib, nib")
    rule = "; ".join(part.format(method) for part in rules for method in UNIMODAL)
    remark = "; printed: RISE is ahead of M2IB in text drop"
    return by_rule("nib-28", pooled(table), rule, remark=remark)


@reads("nib-properties", given=of_mfaba)
def nib_29(
    off: dict[str, Sequence[float]], apart: dict[str, float], stray: float, *, clusters=None
) -> Verdict:
    """MFABA's sum is less than 5 % off the fall along its walk in more than half of the pairs,
    beyond chance and on both sides; equal networks have equal maps (as in `nib_14`); and cells
    without influence get less than 1e-6 of what the decisive one gets.

    off    side -> (pairs,), relative gap of the sum to the fall
    apart  as in `nib_14`; exact, like stray, what cells without influence get, of the decisive one
    """
    lines = [
        share(f"{side}: pairs whose sum is less than 5% off", np.asarray(v) < 0.05, 0.5, clusters)
        for side, v in off.items()
    ]
    lines += same_maps(apart)
    lines.append(exact({"comparison": "cells without influence"}, abs(stray), "<", 1e-6))
    return judge("nib-29", lines)


@reads("nib-stability", given=of_noise)
def nib_30(steady: dict[str, Sequence[float]], *, clusters=None) -> Verdict:
    """The rank correlation of a map with that of the same picture under noise is lower for Saliency
    than for NIB and than for M2IB. The kit's question: the papers give no numbers.

    steady  method -> (pairs,), "saliency", "nib" and "m2ib" among them; NaN is left out
    """
    lines = []
    for method in ("nib", "m2ib"):
        worse = np.asarray(steady["saliency"], float) - np.asarray(steady[method], float)
        lines.append(below(f"correlation under noise: saliency - {method}", worse, 0, clusters))
    return judge("nib-30", lines)


def nib_31(table: pd.DataFrame | None = None) -> Verdict:
    """NIB's IoU on captioned aerial pictures lies above that of random maps; without a table of
    such pictures it cannot be tested here."""
    if table is None:
        return untestable("nib-31")
    return by_rule("nib-31", table, "iou: nib > random")


@reads("nib-properties", given=of_criteria)
def nib_32(found: dict[str, dict[str, bool]]) -> Verdict:
    """Each circle of Table 1 in NIB's and M2IB's rows comes out by running as it is printed: NIB
    meets all six criteria, M2IB all but "no randomness" and "no information loss".

    found  method -> criterion -> whether it is met, as `metrics.properties` finds it: maps alone
           and in a batch, with two seeds, equal within 0.1 % of the largest score; it runs on a
           CNN, a vision transformer and a text tower, towards an embedding; among the embeddings
           that it scores is the untouched input's; it leaves the weights alone and reads them.
           NaN leaves a criterion open; exact, nothing is sampled
    """
    circles = read("nib_table1_properties.csv").set_index("method")
    lines = []
    for method in ("nib", "m2ib"):
        for criterion, circle in circles.loc[method].items():
            what = {"comparison": f"{method}: {criterion.replace('_', ' ')}"}
            met = float(found[method][criterion])
            lines.append(exact(what, met, "=", float(circle == "yes")))
    remark = "; five of the seven methods of the table are not in the kit"
    return judge("nib-32", lines, remark=remark)
