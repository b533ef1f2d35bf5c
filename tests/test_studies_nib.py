"""NIB's studies: one unit of each measured part, and what the claims take of the rows."""

import math
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch

from xai_utils import metrics, studies
from xai_utils.papers import FAILS, HOLDS, claims, function_of
from xai_utils.papers.claims import nib as claimed
from xai_utils.studies import Measured, agree, evidence, nib_measures, sets
from xai_utils.studies.base import from_json, to_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stamps")]
QUICK = dict(masks=5)
PAIRS = partial(sets.scenes, "vit-photos", 3, objects=2, seed=1)
PARTS = {
    (name, part.name): part
    for name in studies.STUDIES
    if name.startswith("nib-")
    for part in studies.STUDIES[name].parts("embedded")
    if isinstance(part, Measured)
}


def smaller(part: Measured) -> Measured:
    """The same measure on three pairs, RISE with few masks."""
    if not isinstance(part.measure, partial):
        return part
    given = part.measure.keywords | dict(samples=PAIRS)
    given = {k: QUICK.get(k, v) for k, v in given.items()}
    return Measured(
        name=part.name, n=1, measure=partial(part.measure.func, **given), loose=part.loose
    )


@cache
def unit_of(study: str, part: str) -> pd.DataFrame:
    return from_json(to_json(smaller(PARTS[study, part]).measure(0))).assign(unit=0, part=part)


def rows_of(study: str, units: int = 1) -> pd.DataFrame:
    """The measured rows of a study, those of one unit as often as units are asked for."""
    frames = [unit_of(*key) for key in PARTS if key[0] == study]
    return pd.concat(
        [frame.assign(unit=i) for frame in frames for i in range(units)], ignore_index=True
    )


def decided(claim: str, *tables: pd.DataFrame):
    function = function_of(claim)
    _, given = function.reads
    return function(*tables) if given is None else function(**given(*tables))


@pytest.fixture(autouse=True)
def few_methods(monkeypatch):
    quick = {name: nib_measures.QUICK[name] for name in ("nib", "m2ib")}
    monkeypatch.setattr(nib_measures, "QUICK", quick)


@pytest.mark.parametrize("key", PARTS, ids=" ".join)
def test_a_unit_gives_finite_rows_of_plain_values(key):
    rows = unit_of(*key)
    assert len(rows) and rows.notna().any().all()
    numbers = rows.select_dtypes("number").to_numpy()
    assert not np.isinf(numbers).any()


@pytest.mark.parametrize(
    "claim, outcome",
    {
        "nib-08": FAILS,
        "nib-09": HOLDS,
        "nib-10": HOLDS,
        "nib-13": FAILS,
        "nib-14": FAILS,
        "nib-15": HOLDS,
        "nib-16": FAILS,
        "nib-32": HOLDS,
    }.items(),
)
def test_what_is_exact_is_decided_by_one_pair(claim, outcome):
    (study,), _ = function_of(claim).reads
    assert decided(claim, rows_of(study)).outcome == outcome


@pytest.mark.parametrize(
    "claim",
    [
        "nib-06",
        "nib-07",
        "nib-11",
        "nib-12",
        "nib-17",
        "nib-18",
        "nib-20",
        "nib-22",
        "nib-29",
        "nib-30",
    ],
)
def test_what_is_sampled_counts_pairs(claim):
    (study,), _ = function_of(claim).reads
    assert decided(claim, rows_of(study, 7)).n == 7


def test_every_claim_reads_a_study_but_the_one_without_data():
    without = [c for c in claims().index if c.startswith("nib-") and not reads(c)]
    assert without == ["nib-31"]


def reads(claim: str) -> tuple[str, ...]:
    return getattr(function_of(claim), "reads", ((), None))[0]


def test_evidence_of_mixed_parts_comes_back_and_agrees(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "evidence")
    keys = [("nib-properties", name) for name in ("planted", "rewritten", "criteria", "mfaba")]
    parts = [smaller(PARTS[key]) for key in keys]
    study = studies.Study(name="nib-properties", asks="?", parts=lambda profile: parts)
    evidence.compute(study, "embedded", scratch=tmp_path / "scratch")
    found = evidence.load(study)
    assert set(found.rows.part) == {part.name for part in parts}
    assert agree(found.check(4, parts=["planted", "mfaba", "criteria"]))
    assert decided("nib-32", found.rows).outcome == HOLDS


def test_sums_become_relative_gaps_in_the_order_of_the_pairs():
    rows = [
        dict(unit=u, side=side, nodes=n, total=change + n * off, change=change, at=math.nan)
        for u, off in ((1, 0.03), (0, 0.01))
        for side, change in (("image", -2.0), ("text", 0.5))
        for n in (10.0, 100.0)
    ]
    path = [dict(unit=0, side="image", at=0.0, similarity=0.1)]
    gaps = claimed.of_sums(pd.DataFrame(rows + path))["gaps"]
    assert list(gaps["image"]) == [10, 100]
    np.testing.assert_allclose(gaps["image"][10], [0.05, 0.15])
    np.testing.assert_allclose(gaps["text"][100], [2.0, 6.0])


def test_paths_are_gates_by_pairs():
    rows = [
        dict(unit=u, side="text", at=t, similarity=10 * u + t, nodes=math.nan)
        for u in (1, 0)
        for t in (1.0, 0.5, 0.0)
    ]
    paths = claimed.of_paths(pd.DataFrame(rows))["paths"]
    np.testing.assert_allclose(paths["text"], [[0, 10], [0.5, 10.5], [1, 11]])


def swept(*methods: str, n: int = 7) -> pd.DataFrame:
    """Drops and increases that differ a little from setting to setting and pair to pair."""
    rows = []
    for side in claimed.SIDES:
        for k, method in enumerate(methods):
            for metric in (*claimed.MEASURES, *(["iou"] if side == "image" else [])):
                for i in range(n):
                    value = 100.0 * (i > k) if metric == "conf-incr" else (5 + k + i) / 30
                    at = dict(dataset="d", model="m", modality=side, sample=f"{i}")
                    rows.append(at | dict(method=method, metric=metric, value=value))
    return pd.DataFrame(rows)


TRIED = [f"steps={n}" for n in (3, 5, 10, 20)] + [f"layer={v}" for v in (3, 6, 9)]
TRIED += [f"beta={b}" for b in (0.01, 0.1, 0.9)]


@pytest.mark.parametrize("claim", ["nib-21", "nib-23", "nib-24", "nib-26", "nib-27"])
def test_sweeps_say_their_own_settings(claim):
    assert decided(claim, swept(*TRIED)).n == 7
    table = swept(*TRIED)
    assert claimed.of_steps(table)["counts"] == [3, 5, 10, 20]
    assert claimed.of_betas(table)["betas"] == [0.01, 0.1, 0.9]
    assert claimed.of_both(table)["ours"] == TRIED[:7]


def test_precision_takes_the_counts_that_were_swept_and_walked():
    walked = rows_of("nib-walks", 7)
    given = claimed.of_precision(swept(*TRIED), walked)
    assert sorted(given["gaps"]["text"]) == sorted(given["close"]["image"]) == [5, 10, 20]
    assert decided("nib-25", swept(*TRIED), walked).n == 7


def test_seconds_of_both_sides_are_added():
    rows = [
        dict(unit=u, side=side, method=k, seconds=s + u)
        for u in (0, 1)
        for side, s in (("image", 1.0), ("text", 0.5))
        for k in ("nib", "m2ib")
    ]
    seconds = claimed.of_seconds(pd.DataFrame(rows))["seconds"]
    np.testing.assert_allclose(seconds["nib"], [1.5, 3.5])


def test_ends_are_the_smallest_and_the_largest_beta():
    rows = [
        dict(unit=u, side="image", part="m2ib", seed=math.nan, low=a, high=b, correlation=r + u)
        for u in (0, 1)
        for a, b, r in ((0.01, 0.1, 0.7), (0.1, 0.9, 0.6), (0.01, 0.9, 0.2))
    ]
    np.testing.assert_allclose(claimed.of_ends(pd.DataFrame(rows))["alike"]["image"], [0.2, 1.2])


def test_noise_falls_and_the_worst_map_counts():
    rows = [
        dict(part="theorems", unit=u, sigma=s, gap=1 / s**2, correlation=1 - s - u / 100)
        for u in (0, 1)
        for s in (0.1, 0.001, 0.01)
    ]
    given = claimed.of_vanishing(pd.DataFrame(rows))
    np.testing.assert_allclose(given["gaps"], [1e2, 1e4, 1e6])
    np.testing.assert_allclose(given["correlations"], [0.89, 0.98, 0.989])


def test_a_criterion_is_met_where_all_pairs_say_so():
    rows = [
        dict(part="criteria", unit=u, method="nib", criterion=k, met=u < last)
        for u in (0, 1)
        for k, last in (("a", 2), ("b", 1))
    ]
    assert claimed.of_criteria(pd.DataFrame(rows)) == dict(found={"nib": {"a": True, "b": False}})


def test_the_largest_difference_of_all_pictures_decides():
    rows = [
        dict(part="rewritten", method=k, form="times 4", apart=v)
        for k, v in (("nib", 0.1), ("nib", 0.3), ("mfaba", 0.9))
    ]
    assert claimed.of_rewritten(pd.DataFrame(rows)) == dict(apart={"times 4": 0.3})


def test_the_sampled_divergence_is_the_closed_form():
    z = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    found = nib_measures.sampled_divergences(z, torch.Generator().manual_seed(1))
    for (gate, sigma), value in found.items():
        assert value == pytest.approx(nib_measures.divergence(z, gate, sigma), rel=0.03)


def test_a_contrast_of_scaled_maps_is_that_of_the_map_scaled():
    x, h = torch.zeros(1, 3, 8, 8), torch.ones(1, 4)
    map = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    masks, others = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    masks[..., :3], others[..., 5:] = True, True
    own = dict(masks=masks, others=others)
    by_option = metrics.mask_contrast(None, x, h, map, scaled=True, **own)
    by_hand = metrics.mask_contrast(None, x, h, metrics.min_max(map), **own)
    assert by_option == by_hand != metrics.mask_contrast(None, x, h, map, **own)
