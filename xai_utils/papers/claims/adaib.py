"""AdaIB's claims, a function each: evidence in, verdict out.

The claims are judged with `g="mlp"`, the network that each pair learns, because that is the paper's
setting: "adaib" in a table is that method. The default of `xai_utils.methods.adaib` is
`g="scaled"`, M2IB's beta over f, because a learned g falls to its floor at once and then lets
nearly everything pass; the notebooks show it as "adaib, scaled".

`table` is rows of `score` or `evaluate`, its methods and metrics named as in reference.csv. The
first sentence of a docstring says what decides the claim.
"""

from math import inf, nan

import numpy as np
import pandas as pd

from ...data import thirds
from ...methods.adaib import EPS
from ...stats import auc, jackknife, ratio, spearman
from ...studies.adaib_measures import NETS, STEPS
from ..evidence import parts, reads
from ..statistics import ENOUGH, Verdict, by_rule, compared, comparisons, exact, judge

RIVALS = "m2ib, nib, grad-cam, chefer, mfaba, fast-ig"
CONFIDENCE = {
    "image conf-drop": "<",
    "image conf-incr": ">",
    "text conf-drop": "<",
    "text conf-incr": ">",
}
ROAR = {f"roar-{way}-{which}": ">" for which in ("oc", "co") for way in ("i2t", "t2i")}


PAPERS_G = "1-32-1-relu"  # its rows are those of f = L2
IN_PERCENT = ("iou", "miou")


def with_roar(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with zero-shot ROAR in the place of hits, 100 (hits of ones - hits) / mean hits of
    ones on each data set: a map of ones marks nothing. IoU in per cent. No ROAR where no query
    finds its partner in the first place."""
    percent = rows.metric.isin(IN_PERCENT)
    rows = rows.assign(value=rows.value.where(~percent, 100 * rows.value))
    is_hit = rows.metric.str.startswith("hit-")
    keys = ["dataset", "model", "modality", "metric"]
    hits = rows[is_hit]
    whole = hits[hits.method == "ones"].set_index([*keys, "sample"]).value
    before = hits[[*keys, "sample"]].merge(whole.rename("before").reset_index(), how="left").before
    before = before.set_axis(hits.index)
    share = before.groupby([hits[k] for k in keys]).transform("mean")
    roar = hits.assign(
        value=(100 * (before - hits.value) / share).where(share > 0),
        metric=hits.metric.str.replace("hit-", "roar-"),
    )
    return pd.concat([rows[~is_hit], roar.dropna(subset="value")], ignore_index=True)


def of_roar(rows: pd.DataFrame) -> dict:
    return dict(table=with_roar(rows))


def of_thirds(rows: pd.DataFrame) -> dict:
    """Pairs by the thirds of their untouched match, over all sets together."""
    fit = rows[rows.metric == "match"].drop_duplicates("sample").set_index("sample").value
    part = dict(zip(fit.index, thirds(fit)))
    kept = rows[rows.metric.isin(("conf-drop", "conf-incr"))]
    return dict(table=kept.assign(dataset=kept["sample"].map(part)))


def by_caption(rows: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """One line a picture and method, with the values with its own caption and with another's."""
    kinds = rows.matched.map({True: "own", False: "other"})
    keys = ["part", "model", "modality", "cluster", "method"]
    wide = rows.assign(value=values, kind=kinds).pivot(index=keys, columns="kind", values="value")
    return wide.reset_index().rename(columns={"part": "dataset"})


def of_totals(rows: pd.DataFrame) -> dict:
    return dict(totals=by_caption(rows, rows.total))


def of_losses(rows: pd.DataFrame) -> dict:
    some = rows[rows.method.isin(("adaib", "m2ib", "nib"))]
    return dict(losses=by_caption(some, some.loss.where(some.method != "nib", -some.total)))


def of_distances(rows: pd.DataFrame) -> dict:
    ours = rows[(rows.method == "adaib") & (rows.modality == "image")]
    return dict(distances=by_caption(ours.assign(method="distance"), 1 / ours.f))


def main_set(rows: pd.DataFrame) -> pd.DataFrame:
    """The pictures of the set of which everything was measured."""
    whole = set(rows.part[rows.method == "closed"])
    return rows[rows.part.isin(whole) & (rows.modality == "image")]


def of_prices(rows: pd.DataFrame) -> dict:
    ours = main_set(rows).replace({"method": {"adaib": "mlp"}})
    ours = ours[ours.method.isin(("mlp", "closed"))]
    told = ours[["cluster", "cosine"]].assign(g=ours.method, price=ours.g / ours.f, kept=ours.kl)
    return dict(table=told)


def of_learned_g(rows: pd.DataFrame) -> dict:
    ours = main_set(rows)
    ours = ours[ours.method == "adaib"]
    return dict(table=by_caption(ours, ours.g))


def of_betas(rows: pd.DataFrame) -> dict:
    """M2IB's IoU at the beta that is best for each pair and at the best common one, chosen on one
    seed of the noise and scored on the other, both ways round."""
    rows = rows[rows.metric == "iou"]
    beta, seed = zip(*rows.method.str.split(", "))
    wide = rows.assign(beta=beta, seed=seed).pivot(
        index="sample", columns=["seed", "beta"], values="value"
    )
    ways = {"own-beta": 0, "common-beta": 0}
    for chosen, scored in (sorted(set(seed)), sorted(set(seed))[::-1]):
        iou, place = wide[scored].to_numpy(), wide[chosen][wide[scored].columns].to_numpy()
        ways["own-beta"] += iou[np.arange(len(iou)), place.argmax(1)] / 2
        ways["common-beta"] += iou[:, place.mean(0).argmax()] / 2
    one = rows.drop_duplicates("sample").set_index("sample").loc[wide.index].reset_index()
    made = [one.assign(method=name, value=values) for name, values in ways.items()]
    return dict(table=pd.concat(made, ignore_index=True))


def of_ends(rows: pd.DataFrame) -> dict:
    forced = rows[rows.part == "forced f"]
    return dict(table=forced[forced.steps == forced.steps.max()])


def of_starts(rows: pd.DataFrame) -> dict:
    some = rows[(rows.part == "starts") & (rows.network == "mlp") & (rows.steps == STEPS)]
    return dict(table=some)


def of_networks(rows: pd.DataFrame) -> dict:
    named = with_roar(rows).replace({"method": {"l2": PAPERS_G}})
    return dict(table=named[named.method.isin(NETS)])


def of_lengths(rows: pd.DataFrame) -> dict:
    levelled = rows[rows.method.str.endswith(", levelled")]
    names = levelled.method.str.removesuffix(", levelled")
    return dict(table=with_roar(levelled.assign(method=names)))


COMBINED = {"l2": "learned-g", "l2, scaled": "scaled-g", "closed": "closed-g", "m2ib": "m2ib"}
COMBINED |= {"learned f": "learned-f", "both learned": "both-learned"}


def of_combinations(rows: pd.DataFrame) -> dict:
    some = with_roar(rows[rows.method.isin(COMBINED) & (rows.modality == "image")])
    return dict(table=some.replace({"method": COMBINED}))


def of_moves(rows: pd.DataFrame, stable: pd.DataFrame) -> dict:
    maps = stable[(stable.part == "maps") & (stable.modality == "image")]
    maps = maps[maps.network == "mlp"]
    return dict(table=with_roar(rows), moves=maps[["cluster", "across", "seeds"]])


def of_clipping(stable: pd.DataFrame) -> dict:
    maps = stable[(stable.part == "maps") & (stable.network == "mlp")].assign(dataset="maps")
    ways = {"clipped": "seeds", "unclipped": "unclipped"}
    made = [
        maps.assign(metric="map-spearman", method=way, value=maps[column])
        for way, column in ways.items()
    ]
    return dict(table=pd.concat(made, ignore_index=True))


@reads("adaib-mismatch", given=of_totals)
def adaib_01(totals: pd.DataFrame) -> Verdict:
    """In every setting AdaIB's total with another's caption is below half of that with the own one,
    and this ratio is below M2IB's, Grad-CAM's and NIB's.

    totals  columns dataset, model, modality, cluster (the picture), method, own, other: the sum of
            the raw map with the own caption and with another's. NIB's scores are summed with signs
    """
    lines = []
    for what, of in settings(totals, "ratio of totals"):
        own = jackknife(ratio_of_ends, *of["adaib"])
        lines.append(compared(what | dict(left="adaib", right="0.5"), own, "<", 0.5))
        for rival in ("m2ib", "grad-cam", "nib"):
            apart = difference_of(ratio_of_ends, of["adaib"], of[rival])
            lines.append(compared(what | dict(left="adaib", right=rival), apart, "<"))
    return judge("adaib-01", lines)


@reads("adaib-theory", given=of_betas)
def adaib_02(table: pd.DataFrame) -> Verdict:
    """The IoU of M2IB at the beta that is best for each pair lies above that at the best common
    beta.

    table  rows of `score` with the methods "own-beta" and "common-beta", both chosen on another
           seed of the noise than they are scored on
    """
    return by_rule("adaib-02", table, "iou: own-beta > common-beta")


@reads("adaib-theory", given=parts("constant weights"))
def adaib_03(table: pd.DataFrame) -> Verdict:
    """With f = 1 and g = beta the maps are M2IB's within 1e-5 and the traces within 1e-6.

    table  columns side, f, maps, traces: the largest difference of the maps and of the traces; only
           lines with f = 1 count. Nothing is sampled
    """
    lines = []
    for row in table[table.f == 1].itertuples():
        for name, most in (("maps", 1e-5), ("traces", 1e-6)):
            what = {"comparison": f"{row.side}, largest difference of the {name}"}
            lines.append(exact(what, getattr(row, name), "<", most))
    return judge("adaib-03", lines)


@reads("adaib-theory", given=of_ends)
def adaib_04(table: pd.DataFrame) -> Verdict:
    """After convergence the KL at the smallest f is below 1 % of that at the largest, and the fit
    at the largest f is that without compression within 1 %.

    table  columns sample, cluster, f, kl, fit: where each pair ends, with g = 1 / f; f infinite: no
           compression. Both numbers are ratios of sums over the pairs
    """
    at = {f: rows.sort_values("sample") for f, rows in table.groupby("f")}
    low, high = (end(f for f in at if f < inf) for end in (min, max))
    clusters = at[low].cluster
    kl = jackknife(ratio, at[low].kl.to_numpy(), at[high].kl.to_numpy(), clusters=clusters)
    fit = jackknife(ratio, at[high].fit.to_numpy(), at[inf].fit.to_numpy(), clusters=clusters)
    names = f"KL at f = {low:g} over that at {high:g}", f"fit at f = {high:g} over that without KL"
    kept_little = compared({"comparison": names[0]}, kl, "<", 0.01)
    kept_what_matters = compared({"comparison": names[1]}, fit, "=", 1, margin=0.01)
    return judge("adaib-04", [kept_little, kept_what_matters])


@reads("adaib-theory", given=parts("rivals"))
def adaib_05(table: pd.DataFrame) -> Verdict:
    """At every price, after ten steps and after convergence, AdaIB's gates let less through than
    the cheapest rival with no worse a match, on the pairs where one of the rivals has such a match.

    table  columns steps, price, sample, cluster, rival, ours, theirs: mean KL in nats, infinite for
           a rival that does not reach the match
    Where no rival reaches it on any pair there is no solution to compare with: that leaves it open.
    """
    keys, lines = ["steps", "price", "sample", "cluster"], []
    cheapest = table.groupby(keys, sort=False, as_index=False).agg(
        ours=("ours", "first"), theirs=("theirs", "min")
    )
    for (steps, price), rows in cheapest.groupby(["steps", "price"], sort=False):
        able = rows[np.isfinite(rows.theirs)]
        what = {
            "comparison": f"nats after {steps} steps at price {price}, minus the cheapest rival"
        }
        values = (able.ours - able.theirs).to_numpy()
        sampled = len(able) > 0
        lines.append(
            compared(what, values, "<", clusters=able.cluster) if sampled else exact(what, nan, "<")
        )
    return judge("adaib-05", lines)


@reads("adaib-mismatch", given=of_prices)
def adaib_06(table: pd.DataFrame) -> Verdict:
    """With the learned g and with g = 1 / f the rank correlation of a pair's cosine with the price
    g / f lies below 0, and with the nats kept above 0.

    table  columns g ("mlp" and "closed" count), cluster, cosine, price, kept: one line a pair,
           matched or not
    """
    lines = []
    for g in ("mlp", "closed"):
        rows = table[table.g == g]
        for name, op in (("price", "<"), ("kept", ">")):
            values = rows.cosine.to_numpy(), rows[name].to_numpy()
            found = jackknife(spearman, *values, clusters=rows.cluster, within=(-1, 1))
            lines.append(compared({"comparison": f"{g}, cosine against {name}"}, found, op))
    return judge("adaib-06", lines)


@reads("adaib-mismatch", given=of_learned_g)
def adaib_07(table: pd.DataFrame) -> Verdict:
    """More than 90 % of the learned g end above twice their floor, and a pair's g is higher with
    another's text than with its own.

    table  columns cluster, own, other: the final g of a picture with its own and with another's
           text. 90 % can only be passed by more than 34 pictures
    """
    clusters = [*table.cluster, *table.cluster]
    above = (pd.concat([table.own, table.other]) > 2 * EPS).astype(float).to_numpy()
    share = {"comparison": "share of g above twice the floor"}
    raised = {"comparison": "g, another's text - own text"}
    lines = [
        compared(share, above, ">", 0.9, clusters=clusters, among=(0, 1)),
        compared(raised, (table.other - table.own).to_numpy(), ">", clusters=table.cluster),
    ]
    return judge("adaib-07", lines)


@reads("adaib-tables")
def adaib_08(table: pd.DataFrame) -> Verdict:
    """AdaIB's image drop lies below, and its image increase above, that of each of the six rivals
    on every data set."""
    rule = f"image conf-drop: adaib < {RIVALS}; image conf-incr: adaib > {RIVALS}"
    return by_rule("adaib-08", table, rule)


@reads("adaib-tables")
def adaib_09(table: pd.DataFrame) -> Verdict:
    """AdaIB's text drop lies below, and its text increase above, that of each of the six rivals on
    every data set."""
    rule = f"text conf-drop: adaib < {RIVALS}; text conf-incr: adaib > {RIVALS}"
    return by_rule("adaib-09", table, rule)


@reads("adaib-named")
def adaib_10(table: pd.DataFrame) -> Verdict:
    """AdaIB's mIoU, of the min-max scaled map cut at 0.5, lies above that of each of the six
    rivals."""
    return by_rule("adaib-10", table, f"miou: adaib > {RIVALS}")


@reads("adaib-named")
def adaib_11(table: pd.DataFrame) -> Verdict:
    """AdaIB's mean drop and increase, of images and of texts, are better than each of the six
    rivals', and none of these differences is certainly a loss.

    A comparison counts as claimed by its mean alone, since the claim lets AdaIB be level with a
    rival, and as against it where its interval, by Holm's correction, lies on the other side. So a
    mean that is not the best leaves the claim open.
    """
    rules = (f"{cell}: adaib {op} {RIVALS}" for cell, op in CONFIDENCE.items())
    lines = [line for rule in rules for line in comparisons("adaib-11", rule, table)]
    return judge("adaib-11", [line | dict(holds=better_mean(line)) for line in lines])


@reads("adaib-tables", given=of_roar)
def adaib_12(table: pd.DataFrame) -> Verdict:
    """AdaIB's zero-shot ROAR lies above that of each of the six rivals on every data set, in all
    four protocols.

    table  rows of `score` with `zero_shot_roar`, one a query: the intervals are over queries of one
           gallery
    """
    rule = "; ".join(f"{metric}: adaib > {RIVALS}" for metric in ROAR)
    return by_rule("adaib-12", table, rule)


@reads("adaib-tables", given=of_thirds)
def adaib_13(table: pd.DataFrame) -> Verdict:
    """AdaIB's drop lies below M2IB's and NIB's and its increase above, on images and on texts, in
    every part of the pairs.

    table  with the part (clean, borderline, noisy) in place of the data set
    """
    rule = "conf-drop: adaib < m2ib, nib; conf-incr: adaib > m2ib, nib"
    return by_rule("adaib-13", table, rule)


@reads("adaib-mismatch", given=of_losses)
def adaib_14(losses: pd.DataFrame) -> Verdict:
    """In every setting AdaIB's final loss tells matched from mismatched pairs, AUC above 0.5, and
    better than M2IB's final loss and NIB's total do.

    losses  columns dataset, model, modality, cluster (the picture), method, own, other: the final
            loss with the own caption and with another's, lower for a match; NIB has no loss, its
            negative total stands for it. The plain cosine is a control and no part of this
    """
    lines = []
    for what, of in settings(losses, "AUC"):
        own = jackknife(auc, *of["adaib"], within=(0, 1))
        lines.append(compared(what | dict(left="adaib", right="0.5"), own, ">", 0.5))
        for rival in ("m2ib", "nib"):
            apart = difference_of(auc, of["adaib"], of[rival], within=(-1, 1))
            lines.append(compared(what | dict(left="adaib", right=rival), apart, ">"))
    return judge("adaib-14", lines)


@reads("adaib-mismatch", given=of_distances)
def adaib_15(distances: pd.DataFrame) -> Verdict:
    """The AUC of the printed L2 distance, matched above mismatched pairs, lies above 0.5 in every
    setting; by algebra it cannot, since a distance is smaller for matched pairs, and only the
    inverse of Appendix B.1 can be higher.

    distances  columns dataset, model, modality, cluster (the picture), method ("distance"), own,
               other: of the embeddings, with the own caption and with another's
    """
    lines = []
    for what, of in settings(distances, "AUC"):
        matched, mismatched = of["distance"]
        found = jackknife(auc, mismatched, matched, within=(0, 1))
        lines.append(compared(what | dict(left="distance", right="0.5"), found, ">", 0.5))
    return judge("adaib-15", lines)


@reads("adaib-theory", given=of_starts)
def adaib_16(table: pd.DataFrame) -> Verdict:
    """At one forced f more than half of the variance of the final log g lies between pairs, not
    between the networks' starts.

    table  columns sample, cluster, start, g: the final g of every pair from every start. Where g
           does not vary at all the share is 0 (`share_of_pairs`)
    """
    wide = table.pivot(index=["cluster", "sample"], columns="start", values="g")
    clusters = wide.index.get_level_values("cluster")
    found = jackknife(share_of_pairs, np.log(wide.to_numpy()), clusters=clusters, within=(0, 1))
    what = {"comparison": "share of pairs in the variance of log g"}
    return judge("adaib-16", [compared(what, found, ">", 0.5)])


@reads("adaib-costs")
def adaib_17(costs: pd.DataFrame) -> Verdict:
    """AdaIB's median time is below 1.10 times M2IB's, its median peak memory below 1.02 times.

    costs  columns method, seconds, memory: one line a repeat. Time and memory are measured, not
           sampled from pictures, so the ratios have no interval; of fewer than six repeats a median
           decides nothing
    """
    medians = costs.groupby("method")[["seconds", "memory"]].median()
    enough = costs.groupby("method").size()[["adaib", "m2ib"]].min() >= ENOUGH
    over = medians.loc["adaib"] / medians.loc["m2ib"] if enough else medians.loc["m2ib"] * nan
    limits = {"seconds": 1.10, "memory": 1.02}
    lines = [
        exact({"comparison": f"median {name} over M2IB's"}, over[name], "<", most)
        for name, most in limits.items()
    ]
    return judge("adaib-17", lines)


@reads("adaib-ablations", given=of_roar)
def adaib_18(table: pd.DataFrame) -> Verdict:
    """f from the L2 distance is better than from L1, Chebyshev and cosine in at least five of nine
    measures: four of confidence, four of ROAR, and mIoU.

    table  methods "l1", "l2", "chebyshev", "cosine", all with a learned g
    """
    lines = in_measures("adaib-18", table, CONFIDENCE | ROAR | {"miou": ">"}, "l2", OTHER_F)
    return judge("adaib-18", lines, need=5, groups=["modality", "metric"])


@reads("adaib-ablations", "adaib-stability", given=of_moves)
def adaib_19(table: pd.DataFrame, moves: pd.DataFrame) -> Verdict:
    """Maps of one pair agree less across the four f than across two seeds of the noise, and the IoU
    of L2 and of cosine lies above that of L1 and of Chebyshev.

    table  as for `adaib_18`, with the metric iou
    moves  columns cluster, across, seeds: mean rank correlation of a pair's maps across f, and of
           two seeds' maps
    """
    what = {"comparison": "rank correlation, across f - across seeds"}
    lines = [compared(what, (moves.across - moves.seeds).to_numpy(), "<", clusters=moves.cluster)]
    for focused in ("l2", "cosine"):
        lines += comparisons("adaib-19", f"iou: {focused} > l1, chebyshev", table)
    return judge("adaib-19", lines)


@reads("adaib-ablations", given=of_lengths)
def adaib_20(table: pd.DataFrame) -> Verdict:
    """L2 of raw lengths has a lower drop and a higher IoU than L2 of unit vectors, and the latter
    is level with cosine, within 1 point of drop and of IoU in %.

    table  methods "raw-l2", "unit-l2", "cosine", with a scaled g whose beta gives all three the
           same mean g / f
    """
    rule = "conf-drop: raw-l2 < unit-l2; iou: raw-l2 > unit-l2"
    rule += "; conf-drop: unit-l2 = cosine within 1; iou: unit-l2 = cosine within 1"
    return by_rule("adaib-20", table, rule)


@reads("adaib-ablations", given=of_networks)
def adaib_21(table: pd.DataFrame) -> Verdict:
    """In at least four of eight measures, four of confidence and four of ROAR, 1-32-1 ReLU is
    better than each of the five other networks for g.

    table  methods "1-1", "1-32-1-relu", "1-8-8-1-relu", "1-64-64-1-relu", "1-32-32-1-none",
           "1-32-32-1-tanh"
    """
    return networks("adaib-21", table, LINEAR + LARGER, need=4)


@reads("adaib-ablations", given=of_networks)
def adaib_22(table: pd.DataFrame) -> Verdict:
    """In at least five of eight measures both networks without a nonlinearity, 1-1 and 1-32-32-1,
    are worse than 1-32-1 ReLU; table as for `adaib_21`."""
    return networks("adaib-22", table, LINEAR, need=5)


@reads("adaib-ablations", given=of_networks)
def adaib_23(table: pd.DataFrame) -> Verdict:
    """In at least five of eight measures 1-8-8-1 ReLU, 1-64-64-1 ReLU and 1-32-32-1 tanh are all
    worse than 1-32-1 ReLU; table as for `adaib_21`."""
    return networks("adaib-23", table, LARGER, need=5)


@reads("adaib-ablations", given=of_combinations)
def adaib_24(table: pd.DataFrame) -> Verdict:
    """On images a fixed f with a learned g has a lower drop and a higher IoU than each other
    combination.

    table  methods "learned-g", "closed-g" (1 / f), "scaled-g" (beta / f), "learned-f" (with g =
           beta / f), "both-learned", "m2ib" (both constant)
    """
    others = "closed-g, scaled-g, learned-f, both-learned, m2ib"
    rule = f"image conf-drop: learned-g < {others}; image iou: learned-g > {others}"
    return by_rule("adaib-24", table, rule)


@reads("adaib-stability", given=of_clipping)
def adaib_25(table: pd.DataFrame) -> Verdict:
    """The rank correlation of two seeds' maps lies higher with clipping than without, on images and
    on texts.

    table  metric "map-spearman" of the methods "clipped" and "unclipped"
    """
    return by_rule("adaib-25", table, "map-spearman: clipped > unclipped")


@reads("adaib-named")
def adaib_26(table: pd.DataFrame) -> Verdict:
    """The share of AdaIB's map on the named thing lies above that of each of the six rivals."""
    return by_rule("adaib-26", table, f"energy-in-mask: adaib > {RIVALS}")


OTHER_F = ("l1", "chebyshev", "cosine")
LINEAR = ("1-1", "1-32-32-1-none")
LARGER = ("1-8-8-1-relu", "1-64-64-1-relu", "1-32-32-1-tanh")


def networks(claim: str, table: pd.DataFrame, others: tuple, need: int) -> Verdict:
    """1-32-1 ReLU against some networks, in eight measures of which `need` must hold."""
    lines = in_measures(claim, table, CONFIDENCE | ROAR, "1-32-1-relu", others)
    return judge(claim, lines, need=need, groups=["modality", "metric"])


def in_measures(claim: str, table: pd.DataFrame, measures: dict, left: str, others) -> list[dict]:
    """Lines of `comparisons` of one method with others; measures: "side metric" -> better side."""
    rules = (f"{measure}: {left} {op} {', '.join(others)}" for measure, op in measures.items())
    return [line for rule in rules for line in comparisons(claim, rule, table)]


def better_mean(line: dict) -> bool:
    """Whether a comparison's mean lies on the claimed side of 0, by more than rounding."""
    return line["difference"] * (1 if line["op"] == ">" else -1) > 1e-9


def settings(table: pd.DataFrame, metric: str):
    """(what a line of evidence is called, method -> (own, other)) for each data set, model and
    side of a table with one line a picture and method; the arrays of all methods are of the same
    pictures, one each."""
    places = ["dataset", "model", "modality"]
    for place, rows in table.groupby(places, sort=False):
        wide = rows.pivot(index="cluster", columns="method", values=["own", "other"]).dropna()
        ends = {
            m: (wide["own", m].to_numpy(), wide["other", m].to_numpy()) for m in set(rows.method)
        }
        yield dict(zip(places, place)) | dict(metric=metric), ends


def difference_of(statistic, ours: tuple, theirs: tuple, **options):
    """A statistic of two arrays, ours minus theirs on the same pictures, with its interval; options
    of `jackknife`."""

    def apart(a, b, c, d):
        return statistic(a, b) - statistic(c, d)

    return jackknife(apart, *ours, *theirs, **options)


def ratio_of_ends(own: np.ndarray, other: np.ndarray) -> float:
    """Total with another's caption over that with the own one."""
    return ratio(other, own)


def share_of_pairs(v: np.ndarray) -> float:
    """Variance between pairs over that plus the variance between starts, v (pairs, starts) of log
    g; 0 where g is the same everywhere, within 0.01 %."""
    pairs, starts = v.mean(1).var(ddof=1), v.mean(0).var(ddof=1)
    return float(pairs / (pairs + starts)) if pairs + starts > 1e-8 else 0.0
