"""AdaIB's studies: what they measure of a pair, and what its claims take of their rows."""

import math
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch

import xai_utils as xu
from xai_utils import metrics
from xai_utils.methods import adaib, random_map
from xai_utils.metrics.retrieval import hits
from xai_utils.papers import function_of
from xai_utils.papers.claims import adaib as claims
from xai_utils.studies import STUDIES, Judged, Measured, sets
from xai_utils.studies import adaib_measures as measures
from xai_utils.studies.base import from_json, to_json

pytestmark = pytest.mark.slow

called = measures.called
PAIRS = partial(sets.scenes, "vit-photos", 3, objects=2, seed=7)
SMALL = dict(model="vit-photos", samples=PAIRS)


@pytest.fixture(scope="module", autouse=True)
def with_one_noisy_copy():
    """In place of ten, which take ten times as long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OURS", "PAIRED"):
            few = {k: partial(f, copies=1) for k, f in getattr(measures, name).items()}
            patch.setattr(measures, name, few)
        for name in ("adaib", "m2ib"):
            patch.setattr(measures.m, name, partial(getattr(measures.m, name), copies=1))
        yield


@cache
def one_unit(study: str, name: str) -> pd.DataFrame:
    return measured(study, name, **({"long": 12} if name in ("forced f", "rivals") else {}))


def measured(study: str, name: str, unit: int = 0, **options) -> pd.DataFrame:
    """One unit of a part as it is declared, but on few pairs."""
    part = next(p for p in STUDIES[study].parts("embedded") if p.name == name)
    assert isinstance(part, Measured)
    rows = part.measure.func(unit, **part.measure.keywords | SMALL | options)
    return from_json(to_json(rows)).assign(unit=unit, part=name)


@pytest.fixture(scope="module")
def pairs():
    return xu.cases("vit-photos", PAIRS())


def given_of(claim: str, *tables) -> dict:
    _, given = function_of(claim).reads
    return given(*tables)


@pytest.mark.parametrize("claim", [f"adaib-{i:02}" for i in range(1, 27)])
def test_every_claim_reads_studies(claim):
    names, _ = function_of(claim).reads
    assert set(names) <= STUDIES.keys()


@pytest.mark.parametrize("name", ["adaib-stability", "adaib-theory"])
def test_a_column_holds_words_or_numbers_and_not_both(name):
    """Rows of all parts stand in one file."""
    parts = [p for p in STUDIES[name].parts("embedded") if isinstance(p, Measured)]
    rows = [one_unit(name, p.name) for p in parts]
    assert len(rows) > 1
    for column in {c for r in rows for c in r}:
        kinds = {r[column].dtype.kind in "ifb" for r in rows if column in r}
        assert len(kinds) == 1, column


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
@pytest.mark.parametrize("side", ["image", "text"])
def test_hits_in_a_gallery_are_those_of_zero_shot_roar_of_a_pair_alone(side, direction):
    """The other pairs are further partners; of all of them, each pair leaves itself out."""
    samples = partial(sets.scenes, "vit-photos", 6, objects=2, seed=8)
    c = xu.cases("vit-photos", samples(), modality=side)
    images, texts = sets.embedded("vit-photos", samples)
    kind = texts if direction == "i2t" else images
    asked = dict(direction=direction, percentile=20)
    asked_too = asked | dict(gallery=lambda: (images, texts))
    ones, map = (f(*called(c)).map for f in (measures.flat_map, random_map))
    before, after = (metrics.hit_without(*called(c), v, **asked_too) for v in (ones, map))
    queries = (images, texts) if direction == "i2t" else (texts, images)
    assert before.tolist() == hits(*queries).float().tolist() and 0 < before.sum()
    assert after.sum() < before.sum()
    for i in before.nonzero()[:, 0].tolist():
        one, rest = c.take([i]), torch.cat([kind[:i], kind[i + 1 :]])
        own = map[i : i + 1] if side == "image" else map[i : i + 1, : len(one.tokens[0])]
        roar = metrics.zero_shot_roar(*called(one), own, distractors=rest, **asked)
        assert roar.item() == 100 * (1 - after[i])


def test_hits_become_roar():
    keys = dict(dataset="d", model="m", modality="image", metric="hit-i2t-co")
    found = {"ones": [1, 1, 0, 0], "adaib": [0, 1, 0, 1]}
    rows = pd.DataFrame(
        [
            keys | dict(method=k, sample=str(i), value=v)
            for k, values in found.items()
            for i, v in enumerate(values)
        ]
    )
    more = rows.assign(metric="iou", value=0.5)
    roar = claims.with_roar(pd.concat([rows, more], ignore_index=True))
    assert set(roar[roar.metric == "iou"].value) == {50.0}
    ours = roar[(roar.metric == "roar-i2t-co") & (roar.method == "adaib")]
    assert list(ours.value) == [200, 0, 0, -200]
    lost = claims.with_roar(rows.assign(value=0.0))
    assert lost.empty  # nothing was found that could be lost


def test_the_learned_f_with_a_fixed_one_is_adaib(pairs):
    one = pairs.take([0])
    same = measures.learned_f(*called(one), g="scaled", fixed=True).map
    assert torch.allclose(same, adaib(*called(one), noise=False).map, atol=1e-3)
    other = measures.learned_f(*called(one), g="scaled")
    assert metrics.rank_correlation(same, other.map) < 0.99 and other.trace["f"] > 2


@pytest.mark.parametrize("how", [dict(normalise=False), dict(f="cosine"), {}])
def test_levelled_weights_have_one_mean_price(pairs, how):
    known = partial(sets.embedded, "vit-photos", PAIRS)
    runs = [
        measures.levelled(*called(pairs.take([i])), pairs=known, **how) for i in range(len(pairs))
    ]
    mean = sum(a.trace["beta_eff"][-1].item() for a in runs) / len(runs)
    assert mean == pytest.approx(measures.mean_price(known), rel=1e-3)


def test_the_walk_is_adaib_without_noise(pairs):
    one = pairs.take([0])
    weights = torch.tensor([1.0, 3.0])
    fit, kl, logits = measures.walk(one, weights, 0.1 / weights, 4)
    for i, f in enumerate(weights.tolist()):
        own = adaib(*called(one), f=f, g=0.1 / f, noise=False, clip=None, steps=4).trace
        assert torch.allclose(fit[:, i], own["fit"][:, 0], atol=1e-3)
        assert torch.allclose(kl[:, i], own["kl"][:, 0], rtol=1e-2)
    assert sorted(logits) == [1, 2, 3, 4]


def test_cheapest_gates_match_as_well_and_let_less_through_than_wide_ones(pairs):
    one = pairs.take([0])
    split = one.encoder.split(one.encoder.layer_at(measures.DEPTH))
    a = torch.zeros_like(split.prefix(one.inputs))[0]
    reachable = one.match.item() - 0.1  # of gates that are open
    found = measures.cheapest(one, a, reachable)
    assert 0 < found < 8 and measures.cheapest(one, a, 2.0) == math.inf


def test_ends_of_a_pair_and_of_a_swapped_one():
    samples, units = partial(sets.with_swapped, PAIRS), (0, 1, 3, 4)
    rows = pd.concat(
        [measured("adaib-mismatch", "two things", unit, samples=samples) for unit in units],
        ignore_index=True,
    )
    assert set(rows.method) == {
        *measures.OURS,
        "closed",
        "m2ib, mean price",
        "nib",
        "grad-cam",
        "random",
    }
    assert list(rows.drop_duplicates("unit").matched) == [True] * 2 + [False] * 2
    assert rows.cluster.nunique() == 2 and rows.grade.isna().all()
    for claim, argument in (("adaib-01", "totals"), ("adaib-14", "losses")):
        table = given_of(claim, rows)[argument]
        assert len(table) == 2 * 2 * table.method.nunique() and table.notna().all(axis=None)
        assert function_of(claim)(table).n == 2
    nib = given_of("adaib-14", rows)["losses"].query("method == 'nib' and modality == 'image'")
    totals = rows.query("method == 'nib' and modality == 'image' and matched").total
    assert sorted(nib.own) == sorted(-totals)
    distances = given_of("adaib-15", rows)["distances"]
    cosines = rows.query("method == 'adaib' and modality == 'image' and matched")
    wanted = np.sqrt(2 - 2 * cosines.cosine).sort_values()
    assert np.allclose(sorted(distances.own), wanted, atol=1e-3)
    prices = given_of("adaib-06", rows)["table"]
    assert set(prices.g) == {"mlp", "closed"} and len(prices) == 2 * 4
    closed = prices[prices.g == "closed"]
    assert np.allclose(closed.price, 2 - 2 * closed.cosine, atol=1e-3)
    assert len(given_of("adaib-07", rows)["table"]) == 2


def test_forced_weights_and_starts_reach_their_claims():
    limits = pd.concat(
        [measured("adaib-theory", "forced f", unit, long=12) for unit in (0, 1)], ignore_index=True
    )
    ends = given_of("adaib-04", limits)["table"]
    assert len(ends) == 2 * len(measures.FORCED) and set(ends.steps) == {12}
    assert ends.kl.groupby(ends.f).mean().loc[[0.001, 1.0, 1000.0]].is_monotonic_increasing
    constant = one_unit("adaib-theory", "constant weights")
    equal = constant[(constant.f == 1) & (constant.side == "image")]
    assert (equal.maps < 1e-5).all() and function_of("adaib-03")(constant).outcome == "holds"
    table = given_of("adaib-16", one_unit("adaib-theory", "starts"))["table"]
    assert len(table) == measures.STARTS and set(table.network) == {"mlp"}


def test_the_best_beta_is_chosen_on_one_seed_and_scored_on_the_other():
    """Two pairs, two betas: what is best on one seed is bad on the other for the second pair."""
    iou = {
        ("beta=0.1", 42): (0.6, 0.9),
        ("beta=1", 42): (0.2, 0.1),
        ("beta=0.1", 43): (0.8, 0.3),
        ("beta=1", 43): (0.1, 0.5),
    }
    rows = pd.DataFrame(
        [
            dict(method=f"{beta}, seed={seed}", sample=f"{i}", metric="iou", value=v)
            for (beta, seed), values in iou.items()
            for i, v in enumerate(values)
        ]
    )
    table = given_of("adaib-02", rows)["table"].pivot(
        index="sample", columns="method", values="value"
    )
    assert list(table["own-beta"]) == pytest.approx([(0.8 + 0.6) / 2, (0.3 + 0.1) / 2])
    assert list(table["common-beta"]) == pytest.approx([(0.8 + 0.6) / 2, (0.3 + 0.9) / 2])


def made_up(methods, metrics_of: dict) -> pd.DataFrame:
    """Rows in the shape of a judged part: metrics_of side -> metrics."""
    rng, n = np.random.default_rng(0), 9
    return pd.DataFrame(
        [
            dict(
                *[dict(part=f"named, {side}", dataset=f"named, {side}", model="m", modality=side)],
                sample=f"{i}",
                cluster=f"{i}",
                method=method,
                metric=metric,
                value=float(rng.integers(2) if metric.startswith("hit") else rng.random()),
                unit=i,
            )
            for side, asked in metrics_of.items()
            for method in methods
            for metric in asked
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("study", ["adaib-tables", "adaib-named", "adaib-ablations"])
def test_claims_find_what_they_compare(study):
    """Methods and metrics are named as the claims want them."""
    stable = made_up(["-"], {"image": ["-"], "text": ["-"]})
    stable = stable.assign(part="maps", network="mlp", across=0.5, seeds=0.8, unclipped=0.7)
    parts = STUDIES[study].parts("embedded")
    assert all(isinstance(part, Judged) for part in parts)
    rows = pd.concat(
        [made_up(part.methods, {part.modality: part.metrics}) for part in parts[:2]],
        ignore_index=True,
    )
    ours = [f"adaib-{i:02}" for i in range(1, 27)]
    found = [c for c in ours if function_of(c).reads[0][0] == study]
    assert len(found) >= 3
    for claim in found:
        names, given = function_of(claim).reads
        tables = [rows, stable][: len(names)]
        verdict = (
            function_of(claim)(*tables) if given is None else function_of(claim)(**given(*tables))
        )
        assert len(verdict.evidence), claim


def test_clipping_and_costs_reach_their_claims():
    stable = one_unit("adaib-stability", "maps")
    table = given_of("adaib-25", pd.concat([stable, stable.assign(cluster="x", sample="x")]))
    assert set(table["table"].method) == {"clipped", "unclipped"}
    assert set(table["table"].modality) == {"image", "text"}
    assert len(function_of("adaib-25")(**table).evidence) == 2
    costs = measured("adaib-costs", "pairs")
    assert (costs.seconds > 0).all() and (costs.memory > 0).all()
    assert len(function_of("adaib-17")(pd.concat([costs] * 6)).evidence) == 2
