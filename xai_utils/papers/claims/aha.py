"""AHA's claims, a function each: evidence in, verdict out.

Of AHA there is a review page and no paper: abstract, captions and stray sentences of the authors,
beside a referee's text. What the referee wrote and the authors did not is labelled so. `table` is
always rows of `score` or `evaluate`; the first sentence of a docstring says what decides.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...stats import jackknife, rank_agreement, ratio, spearman
from ...studies import EvidenceMissing
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

RIVALS = ("rise", "integrated-gradients", "grad-cam", "chefer", "legrad", "attention-rollout")
SIGN = {"deletion-auc": -1, "insertion-auc": 1}  # the direction of each metric
VIT, CNN = "vit-photos", "efficientnet-lite0"  # of the studies
PATCHES = {VIT: 32}  # pixels


def with_places(rows: pd.DataFrame) -> dict:
    """Raises EvidenceMissing for pictures that have no masks of their things."""
    if "iou" not in set(rows.metric):
        raise EvidenceMissing("these pictures have no masks of what they show")
    return dict(table=rows)


@reads("aha-scores", given=parts("predicted"))
def aha_01(table: pd.DataFrame) -> Verdict:
    """AHA's deletion AUC lies below that of each of six rivals on a ViT."""
    return by_rule("aha-01", table, f"deletion-auc: aha < {', '.join(RIVALS)}")


@reads("aha-scores", given=parts("predicted"))
def aha_02(table: pd.DataFrame) -> Verdict:
    """AHA's insertion AUC lies above that of each of six rivals on a ViT."""
    return by_rule("aha-02", table, f"insertion-auc: aha > {', '.join(RIVALS)}")


def of_both_classes(rows: pd.DataFrame) -> dict:
    return parts("predicted", "labelled")(rows) | dict(patches=PATCHES)


@reads("aha-scores", given=of_both_classes)
def aha_03(table: pd.DataFrame, patches: Mapping[str, int]) -> Verdict:
    """AHA leads every rival in deletion and insertion, for the predicted and the labelled class, on
    two ViTs of different patch size.

    table    dataset: "predicted" or "labelled"; rivals are those that each data set has
    patches  model -> patch size in pixels; with a single size the claim cannot be tested
    """
    table = table[table.model.isin(list(patches))]
    lines = []
    for _, part in table.groupby(["model", "dataset"], sort=False):
        rivals = ", ".join(k for k in RIVALS if k in set(part.method))
        for rule in ("deletion-auc: aha < ", "insertion-auc: aha > "):
            lines += comparisons("aha-03", rule + rivals, part)
    found = judge("aha-03", lines)
    if len(set(patches.values())) > 1:
        return found
    sizes = ", ".join(f"{model} ({patch} pixels)" for model, patch in patches.items())
    why = f"needs ViTs of two patch sizes, here is {sizes}; on it"
    return untestable("aha-03", why, but=found)


def of_both_models(rows: pd.DataFrame) -> dict:
    return parts("predicted", "predicted, CNN")(rows) | dict(vit=VIT, cnn=CNN)


@reads("aha-scores", given=of_both_models)
def aha_04(table: pd.DataFrame, vit: str, cnn: str) -> Verdict:
    """AHA's lead over the best rival is larger on the ViT than on the CNN, in deletion and in
    insertion; the best rival is the one of best mean on each model.

    vit, cnn  two models of the table, on the same pictures
    """
    lines = []
    for metric, sign in SIGN.items():
        rows = table[(table.metric == metric) & table.method.isin(["aha", *RIVALS])]
        by = {k: sign * lines_of(rows[rows.model == k]) for k in (vit, cnn)}
        names = by[vit].index.intersection(by[cnn].index)

        def gap(i: np.ndarray, by=by, names=names) -> float:
            leads = (by[k].loc[names].iloc[i].mean() for k in (vit, cnn))
            on_vit, on_cnn = (v["aha"] - v.drop("aha").max() for v in leads)
            return on_vit - on_cnn

        what = {"comparison": f"{metric}: lead on {vit} - lead on {cnn}"}
        lines.append(compared(what, jackknife(gap, np.arange(len(names))), ">"))
    return judge("aha-04", lines)


def lines_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a sample, a column for each method."""
    return rows.pivot(index="sample", columns="method", values="value").dropna(axis=1)


@reads("aha-scores", given=lambda rows: with_places(rows[rows.part == "predicted"]))
def aha_05(table: pd.DataFrame) -> Verdict:
    """AHA's boundary F-score and its IoU lie above those of each of six rivals."""
    rivals = ", ".join(RIVALS)
    return by_rule("aha-05", table, f"boundary-f: aha > {rivals}; iou: aha > {rivals}")


def timed(rows: pd.DataFrame) -> dict:
    of = rows[rows.model == VIT].set_index("method")
    aha, legrad, rise = (of.loc[k] for k in ("aha", "legrad", "rise"))
    return dict(
        cost=dict(forwards=aha.forwards, backwards=aha.backwards),
        over_legrad=aha.seconds / legrad.seconds,
        over_rise=aha.seconds / (6000 * rise.seconds / rise.forwards),
    )


@reads("aha-cost", given=timed)
def aha_06(cost: Mapping[str, int], over_legrad: float, over_rise: float) -> Verdict:
    """A map takes one forward pass and no backward one, at most twice LeGrad's time and at most 1 %
    of RISE's; passes are counted, seconds are medians of repeated runs.

    cost         forwards and backwards of a map at T = 0
    over_legrad, over_rise  its seconds over those of LeGrad and of RISE with 6,000 masks
    """
    lines = [
        exact({"comparison": "forward passes"}, cost["forwards"], "=", 1),
        exact({"comparison": "backward passes"}, cost["backwards"], "=", 0),
        exact({"comparison": "seconds over LeGrad's"}, over_legrad, "<", 2),
        exact({"comparison": "seconds over RISE's"}, over_rise, "<", 0.01),
    ]
    return judge("aha-06", lines)


def before_and_after(rows: pd.DataFrame) -> dict:
    by = lines_of(rows[(rows.part == "T") & (rows.metric == "deletion-auc")])
    return dict(before=by["T=0"], after=by["T=3"])


@reads("aha-refinement", given=before_and_after)
def aha_07(before: Sequence[float], after: Sequence[float], *, clusters=None) -> Verdict:
    """Three refinement steps change the mean deletion AUC by -12 %, give or take 6 points.

    before, after  deletion AUC of each picture at T = 0 and at T = 3
    """
    pair = np.asarray(before, float), np.asarray(after, float)
    change = jackknife(lambda b, a: ratio(a, b) - 1, *pair, clusters=clusters)
    what = {"comparison": "relative change of deletion AUC, T = 3"}
    return judge("aha-07", [compared(what, change, "=", -0.12, margin=0.06)])


def of_one_set(rows: pd.DataFrame) -> dict:
    """Both parts are of the same pictures and model."""
    first = rows.iloc[0]
    return dict(table=rows.assign(dataset=first.dataset, model=first.model))


@reads("aha-refinement", given=of_one_set)
def aha_08(table: pd.DataFrame) -> Verdict:
    """Insertion AUC is higher at T = 5 than at T = 0, and with S = 8 in training than with S = 1.

    table  methods "T=0", "T=5", "S=1" and "S=8", the S at an equal budget of passes
    """
    return by_rule("aha-08", table, "insertion-auc: T=5 > T=0; insertion-auc: S=8 > S=1")


@reads("aha-refinement", given=lambda rows: with_places(rows[rows.part == "T"]))
def aha_09(table: pd.DataFrame) -> Verdict:
    """More of the map's mass lies on the object at T = 5 than at T = 0."""
    return by_rule("aha-09", table, "energy-in-mask: T=5 > T=0")


def soft_and_hard(rows: pd.DataFrame) -> dict:
    rows = rows[rows.part == "soft and hard"].dropna(axis=1, how="all")
    one = rows[rows.tau == rows.tau.iloc[0]].assign(dataset="pictures", model=VIT, modality="image")
    what = ["dataset", "model", "modality", "sample", "method"]
    table = one.melt(id_vars=what, value_vars=list(SIGN), var_name="metric")
    return dict(table=table, soft=rows.assign(hard=rows["deletion-auc"] - rows["insertion-auc"]))


@reads("aha-training", given=soft_and_hard)
def aha_10(table: pd.DataFrame, soft: pd.DataFrame) -> Verdict:
    """The trained explainer's hard deletion and insertion are better than the untrained one's, and
    soft and hard scores have a rank correlation above 0.8 at every temperature.

    table  methods "trained" and "untrained"
    soft   columns tau, sample, method, soft, hard: scores of each map, clustered by sample
    """
    rules = "deletion-auc: trained < untrained", "insertion-auc: trained > untrained"
    lines = [line for rule in rules for line in comparisons("aha-10", rule, table)]
    for tau, part in soft.groupby("tau", sort=False):
        both = part.soft.to_numpy(), part.hard.to_numpy()
        r = jackknife(spearman, *both, clusters=part["sample"], within=(-1, 1))
        what = {"comparison": f"rank correlation of soft and hard at temperature {tau:g}"}
        lines.append(compared(what, r, ">", 0.8))
    return judge("aha-10", lines)


def aha_11(table: pd.DataFrame | None = None) -> Verdict:
    """An explainer trained by the ranking loss has a lower deletion and a higher insertion AUC than
    the same one trained to imitate RISE, and than one trained on a surrogate of mask and area.

    table  methods "ranking", "imitation", "surrogate", trained with one budget; None: there are
           none, and the claim cannot be tested
    """
    if table is None:
        return untestable("aha-11")
    rule = "deletion-auc: ranking < imitation, surrogate"
    return by_rule("aha-11", table, rule + "; insertion-auc: ranking > imitation, surrogate")


def on_the_disc(rows: pd.DataFrame) -> dict:
    maps = rows[rows.part == "maps"]
    named = maps.assign(name=maps.model + " " + maps.method)
    return dict(
        mass=named.pivot(index="unit", columns="name", values="share"), area=maps.area.mean()
    )


@reads("aha-shortcut", given=on_the_disc)
def aha_12(mass: pd.DataFrame, area: float) -> Verdict:
    """Refinement to T = 5 puts more of the map on the shortcut on the tuned model, and more than on
    the clean one; at T = 0 the share is that of the shortcut's area, within a fifth of it.

    mass  one row a picture: tuned T=0, tuned T=5, clean T=0, clean T=5, the map's share on it
    area  the shortcut's share of the picture
    """
    gain = {who: mass[f"{who} T=5"] - mass[f"{who} T=0"] for who in ("tuned", "clean")}
    start = {"comparison": "share on the shortcut at T = 0"}
    lines = [
        compared({"comparison": "gain on the tuned model"}, gain["tuned"], ">"),
        compared({"comparison": "gain, tuned - clean"}, gain["tuned"] - gain["clean"], ">"),
        compared(start, mass["tuned T=0"], "=", area, margin=0.2 * area),
    ]
    return judge("aha-12", lines)


def with_refined_places(scores: pd.DataFrame, refinement: pd.DataFrame) -> dict:
    refined = refinement[(refinement.part == "T") & (refinement.metric == "iou")]
    return with_places(pd.concat([scores[scores.part == "predicted"], refined]))


@reads("aha-scores", "aha-refinement", given=with_refined_places)
def aha_13(table: pd.DataFrame, *, longest: str = "T=5") -> Verdict:
    """Over the methods, mean insertion and mean deletion rank as mean IoU does (correlation above
    0), and refinement does not cost more than 0.02 of IoU.

    A premise that the page's reviewer lists, not a claim of the authors.
    table    insertion-auc, deletion-auc and iou of at least six methods, "T=0" and `longest` among
             those with an IoU
    """
    means = table.pivot_table(index="method", columns="metric", values="value")
    both = means.dropna(subset=["insertion-auc", "deletion-auc", "iou"])
    lines = []
    for metric, sign in SIGN.items():
        what = {"comparison": f"rank correlation of {metric} with IoU over the methods"}
        lines.append(compared(what, rank_agreement(sign * both[metric], both.iou), ">"))
    values, clusters = paired(table[(table.metric == "iou") & table.method.isin(["T=0", longest])])
    what = {"comparison": f"IoU, {longest} - T=0"}
    change = values[longest] - values["T=0"]
    lines.append(compared(what, change, ">", -0.02, clusters=clusters))
    return judge("aha-13", lines)


def of_two_explainers(rows: pd.DataFrame) -> dict:
    on_vit = rows[(rows.part == f"explainers on {VIT}") & (rows.metric == "deletion-auc")]
    by = lines_of(on_vit)
    return dict(own=by[VIT], other=by[CNN])


@reads("aha-training", given=of_two_explainers)
def aha_14(own: Sequence[float], other: Sequence[float], *, clusters=None) -> Verdict:
    """On one model, another model's explainer has the mean deletion AUC of the model's own, within
    5 %.

    An inference of the page's reviewer, not a claim of the authors.
    own, other  deletion AUC of each picture
    """
    pair = np.asarray(own, float), np.asarray(other, float)
    change = jackknife(lambda a, b: ratio(b, a) - 1, *pair, clusters=clusters)
    what = {"comparison": "deletion AUC of the other's explainer over its own, less 1"}
    return judge("aha-14", [compared(what, change, "=", margin=0.05)])


def with_passes(rows: pd.DataFrame) -> dict:
    rows = rows[rows.part == "predicted"]
    passes = rows.groupby("method")[["forwards", "backwards"]].max().sum(axis=1)
    return dict(table=rows, passes=passes.to_dict())


@reads("aha-scores", given=with_passes)
def aha_15(table: pd.DataFrame, passes: Mapping[str, int]) -> Verdict:
    """AHA is at most 0.02 worse in deletion and in insertion AUC than each method that takes a
    hundred times as many passes or more.

    passes  method -> forward and backward passes of a map, "aha" among them; where none takes so
            many, the claim cannot be tested
    """
    times = {k: v / passes["aha"] for k, v in passes.items() if k in RIVALS}
    slow = [k for k, v in times.items() if v >= 100]
    if not slow:
        most = max(times.values(), default=0)
        return untestable("aha-15", f"the slowest method of the run takes {most:.0f} times as many")
    lines = []
    for metric, sign in SIGN.items():
        rows = table[(table.metric == metric) & table.method.isin(["aha", *slow])]
        values, clusters = paired(rows)
        for rival in slow:
            what = {"comparison": f"{metric}: {rival} ({times[rival]:.0f} times the passes) - aha"}
            lead = sign * (values[rival] - values["aha"])
            lines.append(compared(what, lead, "<", 0.02, clusters=clusters))
    return judge("aha-15", lines)
