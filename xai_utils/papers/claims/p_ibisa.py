"""P-IBISA's claims, a function each: evidence in, verdict out.

`table` is always rows of `score` or `evaluate`, its methods and metrics named as in reference.csv.
The first sentence of a docstring says what decides the claim.
"""

import pandas as pd

from ..statistics import Verdict, by_rule, compared, comparisons, judge, paired, untestable

SEE_THE_CLASS = ("grad-cam", "rise", "iba", "ibisa", "attention-rollout", "ag-cam", "chefer")
BETTER = {"morf": -1, "lerf": 1}  # the direction of each metric
CAPTION_SCORES = ("meteor", "bleu", "rouge1", "rouge2", "rougel")


def p_ibisa_01(table: pd.DataFrame) -> Verdict:
    """P-IBISA's image drop for captions lies below RISE's, M2IB's and NIB's on every data set."""
    return by_rule("p-ibisa-01", table, "image conf-drop: p-ibisa < rise, m2ib, nib")


def p_ibisa_02(table: pd.DataFrame) -> Verdict:
    """P-IBISA's image increase lies above RISE's, M2IB's and NIB's on every data set."""
    return by_rule("p-ibisa-02", table, "image conf-incr: p-ibisa > rise, m2ib, nib")


def p_ibisa_03(table: pd.DataFrame) -> Verdict:
    """P-IBISA leads RISE, M2IB and NIB by more than 12 points of increase and 0.3 of drop."""
    rule = "image conf-incr: p-ibisa > rise, m2ib, nib by 12"
    rule += "; image conf-drop: p-ibisa < rise, m2ib, nib by 0.3"
    return by_rule("p-ibisa-03", table, rule)


def p_ibisa_04(table: pd.DataFrame) -> Verdict:
    """M2IB's image drop lies above RISE's and NIB's on every data set."""
    return by_rule("p-ibisa-04", table, "image conf-drop: m2ib > rise, nib")


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
    why = f"{needs}; with the stand-in: {found.outcome} ({found.why})"
    return untestable(found.claim.id, why, found.evidence, n=found.n)
