"""P-IBISA's claims, a function each: evidence in, verdict out.

`table` is always rows of `score` or `evaluate`, its methods and metrics named as in reference.csv.
The first sentence of a docstring says what decides the claim.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...models.strategies import Measured, measured
from ...stats import jackknife
from ..evidence import parts, reads
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

SEE_THE_CLASS = ("grad-cam", "rise", "iba", "ibisa", "attention-rollout", "ag-cam", "chefer")
BETTER = {"morf": "<", "lerf": ">"}  # the direction of each metric
CAPTION_SCORES = ("meteor", "bleu", "rouge1", "rouge2", "rougel")


@reads("p-ibisa-captions")
def p_ibisa_01(table: pd.DataFrame) -> Verdict:
    """P-IBISA's image drop for captions lies below RISE's, M2IB's and NIB's on every data set."""
    return by_rule("p-ibisa-01", table, "image conf-drop: p-ibisa < rise, m2ib, nib")


@reads("p-ibisa-captions")
def p_ibisa_02(table: pd.DataFrame) -> Verdict:
    """P-IBISA's image increase lies above RISE's, M2IB's and NIB's on every data set."""
    return by_rule("p-ibisa-02", table, "image conf-incr: p-ibisa > rise, m2ib, nib")


@reads("p-ibisa-captions")
def p_ibisa_03(table: pd.DataFrame) -> Verdict:
    """P-IBISA leads RISE, M2IB and NIB by more than 12 points of increase and 0.3 of drop."""
    rule = "image conf-incr: p-ibisa > rise, m2ib, nib by 12"
    rule += "; image conf-drop: p-ibisa < rise, m2ib, nib by 0.3"
    return by_rule("p-ibisa-03", table, rule)


@reads("p-ibisa-captions")
def p_ibisa_04(table: pd.DataFrame) -> Verdict:
    """M2IB's image drop lies above RISE's and NIB's on every data set."""
    return by_rule("p-ibisa-04", table, "image conf-drop: m2ib > rise, nib")


def told(rows: pd.DataFrame) -> dict:
    """Table 3's methods; the random orders of a picture are one case, their mean."""
    method = rows.method.mask(rows.method.str.startswith("random"), "random")
    case = ["dataset", "model", "modality", "sample", "cluster", "method", "metric"]
    table = rows.assign(method=method).groupby(case, sort=False, as_index=False).value.mean()
    return dict(table=table, stand_in=True)


@reads("p-ibisa-told", given=told)
def p_ibisa_05(table: pd.DataFrame, *, stand_in: bool) -> Verdict:
    """P-IBISA's Cap-MoRF lies below M2IB's and NIB's, and its Cap-LeRF above, in all ten scores.

    stand_in  the captions come from retrieval instead of a captioning model: the direction can be
              seen, the claim not tested
    """
    rule = "; ".join(
        f"cap-morf-{score}: p-ibisa < m2ib, nib; cap-lerf-{score}: p-ibisa > m2ib, nib"
        for score in CAPTION_SCORES
    )
    return of_captions(by_rule("p-ibisa-05", table, rule), stand_in)


@reads("p-ibisa-told", given=told)
def p_ibisa_06(table: pd.DataFrame, *, stand_in: bool) -> Verdict:
    """Random maps have a Cap-LeRF within 0.02 of their Cap-MoRF (METEOR), and P-IBISA, M2IB and NIB
    beat them in both; stand_in as in `p_ibisa_05`."""
    falls, clusters = paired(table[table.metric == "cap-morf-meteor"])
    stays, _ = paired(table[table.metric == "cap-lerf-meteor"])
    gap = (stays["random"] - falls["random"]).to_numpy()
    even = {"comparison": "random Cap-LeRF - random Cap-MoRF"}
    lines = [compared(even, gap, "=", margin=0.02, clusters=clusters)]
    for rule in ("cap-morf-meteor: {} < random", "cap-lerf-meteor: {} > random"):
        for method in ("p-ibisa", "m2ib", "nib"):
            lines += comparisons("p-ibisa-06", rule.format(method), table)
    return of_captions(judge("p-ibisa-06", lines), stand_in)


def of_captions(found: Verdict, stand_in: bool) -> Verdict:
    if not stand_in:
        return found
    needs = found.claim.embedded.removeprefix("no: ")
    return untestable(found.claim.id, f"{needs}; with the stand-in", but=found)


def pooled(rows: pd.DataFrame) -> dict:
    """The parts of a data set together: `part` is "data set, model, methods"."""
    return dict(table=rows.assign(dataset=rows.part.str.split(", ").str[0]))


@reads("p-ibisa-classification", given=pooled)
def p_ibisa_07(table: pd.DataFrame) -> Verdict:
    """In at least half of the cells, a cell being a model and a metric, P-IBISA is certainly first
    or second, which means better than every method that sees the class but one; the claim fails
    where in more than half of the cells two of these are certainly better.

    table  rows of `score`: morf and lerf of "p-ibisa" and of methods that see the class, the data
           sets of a model pooled
    """
    cells = [
        cell(part, metric) for _, part in table.groupby("model", sort=False) for metric in BETTER
    ]
    return judge("p-ibisa-07", cells, need=math.ceil(len(cells) / 2))


def cell(table: pd.DataFrame, metric: str) -> dict:
    """P-IBISA against the second strongest rival of one model, as one line: it holds where all
    rivals but one are certainly worse, p is that of two rivals being better (the second smallest,
    corrected for the choice: Benjamini and Heller 2008)."""
    rivals = [m for m in SEE_THE_CLASS if m in set(table.method)]
    rule = f"{metric}: p-ibisa {BETTER[metric]} {', '.join(rivals)}"
    lines = comparisons("p-ibisa-07", rule, table)
    if len(lines) != len(rivals) or len(rivals) < 2:
        raise ValueError("p-ibisa-07: pool the data sets, and give each model two rivals or more")
    sign = 1 if BETTER[metric] == ">" else -1
    lines.sort(key=lambda line: sign * line["difference"])
    place = dict(rank=1 + sum(sign * line["difference"] < 0 for line in lines), of=len(lines) + 1)
    beaten = sum(line["holds"] for line in lines)
    p = min(1, (len(lines) - 1) * sorted(line["p"] for line in lines)[1])
    return lines[1] | place | dict(holds=beaten >= len(lines) - 1, p=p)


def of_cnns(rows: pd.DataFrame) -> dict:
    rows = pooled(rows)["table"]
    return dict(table=rows[rows.model.isin(rows[rows.method == "grad-cam"].model)])


def at_equal_passes(rows: pd.DataFrame) -> dict:
    """IBISA of each start beside P-IBISA with the same weights."""
    named = {"ibisa, each": "ibisa", "beta=1": "p-ibisa"}
    rows = of_cnns(rows)["table"]
    return dict(table=rows[rows.method.isin(named)].replace({"method": named}))


@reads("p-ibisa-classification", given=at_equal_passes)
def p_ibisa_08(table: pd.DataFrame) -> Verdict:
    """P-IBISA's MoRF and its LeRF lie within 0.03 of IBISA's at equal passes.

    table  rows of `score`: morf and lerf of "p-ibisa", its target the picture's own embedding, and
           of "ibisa", with the same masks, steps, beta and phi
    Raises ValueError where the rows' forwards and backwards are not equal.
    """
    both = table[table.method.isin(("p-ibisa", "ibisa"))]
    if len(both[["forwards", "backwards"]].drop_duplicates()) > 1:
        spent = both.groupby("method")[["forwards", "backwards"]].max().to_dict("index")
        raise ValueError(f"p-ibisa-08: P-IBISA and IBISA need equal passes, got {spent}")
    rule = "morf: p-ibisa = ibisa within 0.03; lerf: p-ibisa = ibisa within 0.03"
    return by_rule("p-ibisa-08", both, rule)


def with_known(rows: pd.DataFrame) -> dict:
    return dict(table=rows, known=measured())


@reads("p-ibisa-encoders", given=with_known)
def p_ibisa_09(table: pd.DataFrame, known: Sequence[Measured]) -> Verdict:
    """The share of the map on the object lies above that of a centred Gaussian and above that of
    the same network untrained, for every encoder that may stand for its strategy: right at least
    twice as often as the same network untrained on photographs that it has not seen. Where none
    may, the claim cannot be tested.

    table  energy-in-mask of "p-ibisa", "centred-gaussian" and "p-ibisa-untrained"; encoders that
           may not stand for their strategy need no rows
    known  what was measured of every encoder that the claim asks about (`strategies.measured`)
    """
    return by_examples("p-ibisa-09", table, known)


def with_label_free(rows: pd.DataFrame) -> dict:
    cnns = [row for row in measured() if row.name.startswith("resnet-mini")]
    return dict(table=rows, known=[r for r in cnns if not r.name.endswith("supervised")])


@reads("p-ibisa-encoders", given=with_label_free)
def p_ibisa_10(table: pd.DataFrame, known: Sequence[Measured]) -> Verdict:
    """The share of the map on the object lies above that of a centred Gaussian and above that of
    the same CNN untrained, for every CNN trained without labels that may stand for its strategy, as
    in `p_ibisa_09`; where none may, the claim cannot be tested.

    table, known  as in `p_ibisa_09`, of CNNs that were trained without labels alone
    """
    return by_examples("p-ibisa-10", table, known)


def by_examples(claim: str, table: pd.DataFrame, known: Sequence[Measured]) -> Verdict:
    shown = [row.name for row in known if row.example]
    if missing := set(shown) - set(table.model):
        raise ValueError(f"{claim}: the table lacks {', '.join(sorted(missing))}")
    left_out = ", ".join(
        f"{row.name} {row.accuracy:.0%} (untrained {row.untrained:.0%})"
        for row in known
        if not row.example
    )
    why = "right on unseen photographs less than twice as often as untrained"
    if not shown:
        return untestable(claim, f"all encoders are {why}: {left_out}")
    remark = f"; left out, as {why}: {left_out}" if left_out else ""
    rule = "energy-in-mask: p-ibisa > centred-gaussian, p-ibisa-untrained"
    return by_rule(claim, table[table.model.isin(shown)], rule, remark=remark)


@reads("p-ibisa-captions", given=parts("scenes, things", "coco, things"))
def p_ibisa_11(table: pd.DataFrame) -> Verdict:
    """P-IBISA's IoU with the named thing, at the thing's own area, lies above M2IB's and NIB's."""
    return by_rule("p-ibisa-11", table, "image iou: p-ibisa > m2ib, nib")


@reads("p-ibisa-captions", given=parts("scenes, things", "coco, things"))
def p_ibisa_12(table: pd.DataFrame) -> Verdict:
    """The mean of P-IBISA's map on the named thing minus that on the others (mask-contrast) lies
    above 0 and above that of random maps."""
    return by_rule("p-ibisa-12", table, "image mask-contrast: p-ibisa > 0, random")


def of_pairs(rows: pd.DataFrame) -> dict:
    return dict(table=rows[rows.part.isin(("query", "retrieved"))])


@reads("p-ibisa-retrieval", given=of_pairs)
def p_ibisa_13(table: pd.DataFrame) -> Verdict:
    """P-IBISA's drop of 1 / distance lies below Integrated Gradients' and SBSM's on the query and
    on the retrieved picture, two data sets of the table."""
    return by_rule("p-ibisa-13", table, "image conf-drop: p-ibisa < integrated-gradients, sbsm")


@reads("p-ibisa-retrieval", given=of_pairs)
def p_ibisa_14(table: pd.DataFrame) -> Verdict:
    """P-IBISA's increase lies above Integrated Gradients' on the query and on the retrieved
    picture, and above SBSM's on the retrieved one; on the query the paper itself has SBSM ahead,
    which decides nothing.

    table  rows of `score`; the data set of retrieved pictures has a name that ends in "retrieved"
    """
    found = table[table.dataset.str.endswith("retrieved")]
    lines = comparisons("p-ibisa-14", "image conf-incr: p-ibisa > integrated-gradients", table)
    lines += comparisons("p-ibisa-14", "image conf-incr: p-ibisa > sbsm", found)
    return judge("p-ibisa-14", lines)


@reads("p-ibisa-retrieval", given=of_pairs)
def p_ibisa_15(table: pd.DataFrame) -> Verdict:
    """The total variation of P-IBISA's map (map-tv) lies below that of SBSM's, and its rank
    correlation with the map under weak noise (map-spearman) above."""
    return by_rule("p-ibisa-15", table, "map-tv: p-ibisa < sbsm; map-spearman: p-ibisa > sbsm")


def on_the_item(rows: pd.DataFrame) -> dict:
    """P-IBISA's shares with the item that two pictures share, and without it."""
    own = rows[(rows.part == "shared item") & (rows.method == "p-ibisa")]
    return dict(with_item=own.with_item, without=own.without)


@reads("p-ibisa-retrieval", given=on_the_item)
def p_ibisa_16(with_item: Sequence[float], without: Sequence[float]) -> Verdict:
    """The share of the map's mass on the shared item over the item's share of the area lies above
    1, and above that of the same pair without the item at the same place.

    with_item, without  (n,) that ratio of P-IBISA's map, one a pair of pictures
    """
    with_item, without = np.asarray(with_item, float), np.asarray(without, float)
    share = {"comparison": "mass on the item over its share of the area"}
    more = {"comparison": "that minus the same without the item"}
    lines = [compared(share, with_item, ">", 1), compared(more, with_item - without, ">")]
    return judge("p-ibisa-16", lines)


@reads("p-ibisa-contrast")
def p_ibisa_17(table: pd.DataFrame) -> Verdict:
    """The mean of the contrastive map lies above 0 on what two pictures share ("shared") and below
    0 on what sets them apart ("differing"), for every encoder.

    table  rows of `score`: the metrics shared and differing of "p-ibisa"; both sides of a pair are
           one cluster
    """
    return by_rule("p-ibisa-17", table, "shared: p-ibisa > 0; differing: p-ibisa < 0")


def found_by_search(rows: pd.DataFrame) -> dict:
    return dict(search=rows[["rests_on", "p_ibisa", "ibisa"]])


@reads("p-ibisa-search", given=found_by_search)
def p_ibisa_18(search: pd.DataFrame) -> Verdict:
    """The map of the embedding lies on another thing than the class rests on more often than
    IBISA's map of the class.

    search  one row a scene: rests_on, p_ibisa, ibisa, the thing that each points at
    """
    elsewhere = search[["p_ibisa", "ibisa"]].ne(search.rests_on, axis=0).astype(float)
    gap = (elsewhere.p_ibisa - elsewhere.ibisa).to_numpy()
    what = {"comparison": "share of pictures on another thing, P-IBISA - IBISA"}
    line = compared(what, gap, ">", among=(-1.0, 0.0, 1.0))
    rates = elsewhere.mean()
    remark = f"; P-IBISA {rates.p_ibisa:.0%}, IBISA {rates.ibisa:.0%}"
    return judge("p-ibisa-18", [line], remark=remark)


def changes(rows: pd.DataFrame) -> dict:
    """Where the map is on another thing: its share on the named one at the smallest beta minus at
    the large one."""
    elsewhere = rows[rows.p_ibisa != rows.rests_on]
    return dict(change=(elsewhere.low - elsewhere.high).tolist())


@reads("p-ibisa-search", given=changes)
def p_ibisa_19(change: Sequence[float]) -> Verdict:
    """In scenes where the map lies on another thing, a smaller beta moves it to the thing that the
    class rests on: the change lies above 0.

    change  (n,) one number a scene: the share of the map on that thing over the thing's share of
            the area, at the smallest beta minus at the large one; none where no map is elsewhere
    """
    what = {"comparison": "share on the named thing over its area, smallest beta - large one"}
    line = compared(what, change, ">") if len(change) else exact(what, math.nan, ">")
    remark = "" if len(change) else "; in no picture is the map elsewhere"
    return judge("p-ibisa-19", [line], remark=remark)


def swept(rows: pd.DataFrame, classified: pd.DataFrame) -> dict:
    """With what Table 5 has of the same pictures by the same models."""
    both = pd.concat([rows, classified[classified.model.isin(rows.model)]])
    both = both[both.metric == "map-area"].assign(dataset="pictures")
    return dict(table=both.drop_duplicates(["model", "sample", "method"]))


@reads("p-ibisa-betas", "p-ibisa-classification", given=swept)
def p_ibisa_20(table: pd.DataFrame) -> Verdict:
    """The mean of the map (map-area) falls from each beta of 0.5, 1, 2, 3, 10, 100 to the next, on
    every model.

    table  map-area of the methods "beta=0.5" to "beta=100", of a CNN, a ViT and a dual encoder
    """
    betas = ("0.5", "1", "2", "3", "10", "100")
    rule = "; ".join(f"map-area: beta={b} < beta={a}" for a, b in zip(betas, betas[1:]))
    return by_rule("p-ibisa-20", table, rule)


@reads("p-ibisa-classification", given=pooled)
def p_ibisa_21(table: pd.DataFrame) -> Verdict:
    """At beta = 100 MoRF lies above and LeRF below those at beta = 10, on every model."""
    return by_rule("p-ibisa-21", table, "morf: beta=100 > beta=10; lerf: beta=100 < beta=10")


@reads("p-ibisa-captions")
def p_ibisa_22(table: pd.DataFrame) -> Verdict:
    """At beta = 3 the image drop lies above and the image increase below those at beta = 1, on
    every data set."""
    rule = "image conf-drop: beta=3 > beta=1; image conf-incr: beta=3 < beta=1"
    return by_rule("p-ibisa-22", table, rule)


def learned_and_fixed(captions: pd.DataFrame, classified: pd.DataFrame) -> dict:
    named = {"learnable": "p-ibisa", "p-ibisa": "beta=2"}
    return dict(
        captions=captions.replace({"method": named}), classification=pooled(classified)["table"]
    )


@reads("p-ibisa-captions", "p-ibisa-classification", given=learned_and_fixed)
def p_ibisa_23(captions: pd.DataFrame, classification: pd.DataFrame) -> Verdict:
    """With learned weights the mean image drop of captions and the mean MoRF of classification are
    both 0.9 to 1.1 times those of the best fixed weights, on every model.

    captions        rows of `score`: conf-drop of "p-ibisa" (learned), "beta=1", "beta=2", "beta=3"
    classification  rows of `score`: morf of "p-ibisa" (learned), "beta=1", "beta=10"
    The best fixed weights are chosen anew wherever the jackknife leaves a picture out.
    """
    lines = ratios(captions, "conf-drop", ("beta=1", "beta=2", "beta=3"))
    lines += ratios(classification, "morf", ("beta=1", "beta=10"))
    return judge("p-ibisa-23", lines)


def ratios(table: pd.DataFrame, metric: str, fixed: Sequence[str]) -> list[dict]:
    """The mean of learned over that of the best fixed weights, for each data set and model."""
    rows = table[(table.metric == metric) & table.method.isin(["p-ibisa", *fixed])]
    if missing := {"p-ibisa", *fixed} - set(rows.method):
        raise ValueError(f"p-ibisa-23: no {metric} of {', '.join(sorted(missing))}")
    lines = []
    for (dataset, model), part in rows.groupby(["dataset", "model"], sort=False):
        wide, clusters = paired(part)
        values = wide["p-ibisa"].to_numpy(), wide[list(fixed)].to_numpy()
        found = jackknife(to_the_least, *values, clusters=clusters)
        what = dict(dataset=dataset, model=model, metric=metric)
        what |= dict(left="learned / best fixed", right="1")
        lines.append(compared(what, found, "=", 1, margin=0.1))
    return lines


def to_the_least(own: np.ndarray, others: np.ndarray) -> float:
    return own.mean() / others.mean(0).min()


def by_picture(rows: pd.DataFrame) -> dict:
    """The median weight and the mean mask of every picture with learned weights, over its runs."""
    learned = rows[(rows.part == "learned weights") & (rows.rate > 0)].astype({"t": bool})
    both = learned.groupby(["picture", "rate", "t"], as_index=False)
    return dict(runs=both.agg(weight=("weight", "median"), area=("area", "mean")))


@reads("p-ibisa-optimisation", given=by_picture)
def p_ibisa_24(runs: pd.DataFrame) -> Verdict:
    """At the printed learning rate of 1, with t the weight of the area ends below 10 in more than
    half of the pictures and the mean mask stays above 0.05, and without t the weight ends at 10 or
    above in more than half.

    runs  one row a picture and setting: picture, rate, t (whether the loss has it; without it t
          stays 1), weight (the median of exp(-beta) at the end), area (the mean mask). Other rates
          than 1 decide nothing
    """
    printed = runs[runs.rate == 1]
    lines = []
    for has_t, op in ((True, ">"), (False, "<")):
        part = printed[printed.t == has_t]
        what = f"{'with' if has_t else 'without'} t"
        low = {"comparison": f"{what}: share of pictures whose weight ends below 10"}
        small = (part.weight < 10).to_numpy(float)
        options = dict(clusters=part.picture)
        lines.append(compared(low, small, op, 0.5, among=(0.0, 1.0), **options))
        if has_t:
            mask = {"comparison": f"{what}: mean mask"}
            lines.append(compared(mask, part.area.to_numpy(), ">", 0.05, **options))
    return judge("p-ibisa-24", lines)


def runs_of_the_kit(rows: pd.DataFrame) -> dict:
    """Every run with learned weights at the kit's rate, where the loss has t."""
    learned = rows[(rows.part == "learned weights") & (rows.rate == 0.1)]
    runs = learned.astype(dict.fromkeys(("t", "finite", "held"), bool))
    return dict(runs=runs[runs.t])


@reads("p-ibisa-optimisation", given=runs_of_the_kit)
def p_ibisa_25(runs: pd.DataFrame) -> Verdict:
    """No run has a value that is not finite, in no run must the floor hold t, and of the runs whose
    loss went below 0 more than 95 % end with a cosine to the target that is not lower than at the
    start.

    runs  one row a run of learned weights: picture, finite (whether all of its trace is), held
          (whether t met its floor), lowest (its lowest loss), gain (the last cosine minus the
          first)
    """
    below = runs[runs.lowest < 0]
    kept = {"comparison": "share of the runs below 0 whose cosine did not fall"}
    values = (below.gain >= 0).to_numpy(float)
    options = dict(clusters=below.picture, among=(0.0, 1.0))
    lines = [
        exact({"comparison": "runs with a value that is not finite"}, (~runs.finite).sum(), "="),
        exact({"comparison": "runs whose t the floor held"}, runs.held.sum(), "="),
        compared(kept, values, ">", 0.95, **options)
        if len(below)
        else exact(kept, math.nan, ">", 0.95),
    ]
    return judge("p-ibisa-25", lines, remark=f"; {len(below)} of {len(runs)} runs went below 0")


@reads("p-ibisa-optimisation", given=parts("starts and ends"))
def p_ibisa_26(table: pd.DataFrame) -> Verdict:
    """The rank correlation of the maps of two seeds lies higher with 20 masks than with one.

    table  map-spearman of the methods "masks=20" and "masks=1", one row a picture
    """
    return by_rule("p-ibisa-26", table, "map-spearman: masks=20 > masks=1")


def of_costs(rows: pd.DataFrame) -> dict:
    own = rows[rows.part == "costs"].set_index("method")
    return dict(costs=own[["seconds", "forwards", "backwards"]])


@reads("p-ibisa-optimisation", given=of_costs)
def p_ibisa_27(costs: pd.DataFrame) -> Verdict:
    """P-IBISA's passes (forwards and backwards) and its seconds for a map are fewer than RISE's and
    at most 1.1 times IBISA's, at printed settings; passes are counted and seconds are medians of
    repeats, so that nothing is sampled.

    costs  what `metrics.cost` returns, one row a method, "p-ibisa", "ibisa" and "rise": seconds,
           forwards, backwards
    """
    spent = costs.assign(passes=costs.forwards + costs.backwards)[["passes", "seconds"]]
    lines = []
    for column in spent:
        ratio = spent.loc["p-ibisa", column] / spent[column]
        times = {k: {"comparison": f"{column}, P-IBISA / {k.upper()}"} for k in ("rise", "ibisa")}
        lines.append(exact(times["rise"], ratio["rise"], "<", 1))
        lines.append(exact(times["ibisa"], ratio["ibisa"], "<", 1.1 + 1e-9))
    return judge("p-ibisa-27", lines)


@reads("p-ibisa-optimisation", given=parts("starts and ends"))
def p_ibisa_28(table: pd.DataFrame) -> Verdict:
    """From the first step to the last the cosine to the target rises (cosine-change above 0) and
    the mean mask falls (map-area-change below 0), for each kind of target, the data sets of the
    table."""
    return by_rule("p-ibisa-28", table, "cosine-change: p-ibisa > 0; map-area-change: p-ibisa < 0")


@reads("p-ibisa-classification", given=of_cnns)
def p_ibisa_29(table: pd.DataFrame) -> Verdict:
    """IBA's MoRF lies below Grad-CAM's, and its LeRF above, on every CNN."""
    return by_rule("p-ibisa-29", table, "morf: iba < grad-cam; lerf: iba > grad-cam")


def of_every_kind(rows: pd.DataFrame, classified: pd.DataFrame) -> dict:
    """Planted patches, and the share of the map on the things for four kinds of encoder."""
    patches = rows[rows.part == "planted"]
    kinds = {f"{k}, embedding": v for k, v in shares(pooled(classified)["table"]).items()}
    kinds |= {f"{k}, text": v for k, v in shares(rows[rows.part == "starts and ends"]).items()}
    kinds["a function"] = patches.rename(columns={"p_ibisa": "p-ibisa"})
    return dict(hits=patches.hit, energies=kinds)


def shares(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Model -> energy-in-mask, one row a picture, a column for each method."""
    own = rows[rows.metric == "energy-in-mask"]
    return {
        model: part.pivot(index="sample", columns="method", values="value")
        for model, part in own.groupby("model", sort=False)
    }


@reads("p-ibisa-optimisation", "p-ibisa-classification", given=of_every_kind)
def p_ibisa_30(hits: Sequence[float], energies: dict[str, pd.DataFrame]) -> Verdict:
    """The hottest pixel lies on the planted patch in every trial, and for every kind of encoder the
    share of the map on the things lies above that of a random map.

    hits      one number a planted patch: 1 where the hottest pixel lies on it
    energies  kind of encoder -> columns p-ibisa and random, one row a picture
    """
    missed = {"comparison": "planted patches missed"}
    lines = [exact(missed, len(hits) - np.sum(hits), "=")]
    for kind, share in energies.items():
        what = {"comparison": f"{kind}: share of the map on the things, P-IBISA - random"}
        lines.append(compared(what, (share["p-ibisa"] - share["random"]).to_numpy(), ">"))
    return judge("p-ibisa-30", lines)


def p_ibisa_31() -> Verdict:
    """Nothing decides: that texts are left out is a limit that the authors state, not a result."""
    return untestable("p-ibisa-31")
