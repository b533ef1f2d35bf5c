"""P-IBISA's studies: one small unit of each measured part, and what the claims take of the rows."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch

from xai_utils import load_model, studies
from xai_utils.methods import integrated_gradients, p_ibisa, sbsm
from xai_utils.models.strategies import measured
from xai_utils.papers import FAILS, HOLDS, UNTESTABLE, claims, function_of
from xai_utils.papers.claims import p_ibisa as claimed
from xai_utils.studies import Measured, agree, evidence, p_ibisa_measures, sets
from xai_utils.studies import p_ibisa as declared
from xai_utils.studies.base import from_json, to_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stamps")]
PARTS = {
    (name, part.name): part
    for name in studies.STUDIES
    if name.startswith("p-ibisa-")
    for part in studies.STUDIES[name].parts("embedded")
    if isinstance(part, Measured)
}
SMALLER = dict(
    kinds=3, each=2, n=1, rise_masks=40, samples=partial(sets.scenes, "lit-lite0", 1), side=48
)
N = 20  # pictures of a table that is made up


@pytest.fixture(autouse=True)
def few_passes(monkeypatch):
    monkeypatch.setattr(p_ibisa_measures, "MASKS", 2)
    monkeypatch.setattr(p_ibisa_measures, "STEPS", 2)
    quick = {"p-ibisa": p_ibisa_measures.retrieve, "sbsm": partial(sbsm, stride=50)}
    monkeypatch.setattr(p_ibisa_measures, "SMOOTH", quick)
    quick = quick | {"integrated-gradients": partial(integrated_gradients, steps=3)}
    monkeypatch.setattr(p_ibisa_measures, "SIMILAR", p_ibisa_measures.SIMILAR | quick)


def smaller(part: Measured) -> Measured:
    """The same measure with few pictures and passes."""
    if not isinstance(part.measure, partial):
        return replace(part, n=1)
    given = part.measure.keywords
    own = {k: SMALLER[k] for k in given.keys() & SMALLER.keys() if k != "side" or "item" in given}
    return replace(part, n=1, measure=partial(part.measure.func, **given | own))


@cache
def unit_of(study: str, part: str) -> pd.DataFrame:
    made = from_json(to_json(smaller(PARTS[study, part]).measure(0)))
    return made.assign(unit=0, part=part)


@pytest.mark.parametrize("key", PARTS, ids=" ".join)
def test_a_unit_gives_rows_of_finite_values(key):
    rows = unit_of(*key)
    numbers = rows.drop(columns="low", errors="ignore").select_dtypes("number")
    assert len(rows) and np.isfinite(numbers.to_numpy()).all()
    if "metric" in rows:
        assert (rows.error == "").all()
        assert not rows.duplicated(["sample", "method", "metric"]).any()


def test_evidence_of_mixed_parts_comes_back_and_agrees(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "evidence")
    names = ("learned weights", "planted", "starts and ends")
    parts = [smaller(PARTS["p-ibisa-optimisation", name]) for name in names]
    study = studies.Study(name="p-ibisa-optimisation", asks="?", parts=lambda profile: parts)
    evidence.compute(study, "embedded", scratch=tmp_path / "scratch")
    found = evidence.load(study)
    assert agree(found.check(3, parts=names))
    assert len(claimed.by_picture(found.rows)["runs"]) == 2 * len(p_ibisa_measures.RATES)
    runs = claimed.runs_of_the_kit(found.rows)["runs"]
    assert len(runs) == 2 and runs.finite.all() and not runs.held.any()


def test_a_class_is_no_target_for_what_explains_the_embedding():
    encoder = load_model("efficientnet-lite0", device="cpu")
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    few = partial(p_ibisa, masks=1, steps=1)
    a = p_ibisa_measures.of_itself(encoder, x, torch.tensor([3]), method=few, seed=5)
    assert torch.equal(a.map, few(encoder, x, encoder(x), seed=5).map)


def test_an_untrained_network_gives_other_maps():
    encoder = load_model("resnet-mini-dino", device="cpu")
    x = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    a = p_ibisa_measures.of_untrained(encoder, x, encoder(x), name="resnet-mini-dino")
    trained = p_ibisa(encoder, x, encoder(x), masks=2, steps=2)
    assert (a.map - trained.map).abs().max() > 0.01


def test_pictures_are_explained_by_what_the_captioner_says():
    of = dict(model="vit-photos", data="scenes", n=2)
    own = p_ibisa_measures.described(**of)
    images = torch.stack([sets.classifier("lit-lite0").transform(s.image) for s in own])
    told = [s.caption for s in p_ibisa_measures.captioned(**of)]
    assert told == p_ibisa_measures.says(images, **of)
    assert told != [s.caption for s in own]


def test_the_class_is_explained_where_both_networks_are_sure():
    _, samples = declared.CLASSIFIED["embedded"]
    (name, models, n), least = samples.args, samples.keywords["least"]
    assert len(sets.sure(name, models, 2, least=least)) == 2 and n >= 100


def test_encoders_have_parts_once_there_are_examples(monkeypatch):
    assert declared.encoders("embedded") == []
    monkeypatch.setattr(declared, "examples", lambda: ("resnet-mini-dino",))
    (part,) = declared.encoders("embedded")
    assert part.model == "resnet-mini-dino" and "p-ibisa-untrained" in part.methods


def made_up(part: str, means: dict, model="m", dataset="d") -> pd.DataFrame:
    """Rows of `score` for N pictures: means has method -> metric -> mean, or (method, metric) of
    yes and no."""
    rng, rows = np.random.default_rng(0), []
    for method, found in means.items():
        for metric, mean in found.items():
            values = mean + 0.01 * rng.standard_normal(N)
            if metric == "conf-incr":
                values = 100.0 * (np.arange(N) < mean)
            for i, value in enumerate(values):
                rows.append(dict(sample=f"{i}", cluster=f"{i}", method=method, metric=metric))
                rows[-1] |= dict(value=value, forwards=1, backwards=1, modality="image")
    return pd.DataFrame(rows).assign(part=part, model=model, dataset=dataset)


def decided(claim: str, *tables: pd.DataFrame):
    function = function_of(claim)
    _, given = function.reads
    return function(*tables) if given is None else function(**given(*tables))


def outcome(claim: str, *tables: pd.DataFrame) -> str:
    return decided(claim, *tables).outcome


def opposed(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table.assign(**{column: -table[column] for column in columns or ("value",)})


CURVES = dict(low=dict(morf=0.2, lerf=0.6), high=dict(morf=0.4, lerf=0.3))
TABLE_1 = {
    "grad-cam": dict(morf=0.4, lerf=0.4),
    "rise": dict(morf=0.5, lerf=0.3),
    "iba": dict(morf=0.3, lerf=0.5),
    "ibisa": dict(morf=0.45, lerf=0.35),
    "ibisa, each": dict(morf=0.2, lerf=0.6),
    "p-ibisa": dict(morf=0.2, lerf=0.6),
    "beta=1": dict(morf=0.2, lerf=0.6),
    "beta=10": dict(morf=0.25, lerf=0.6),
    "beta=100": dict(morf=0.5, lerf=0.2),
}


@pytest.mark.parametrize("claim", ["07", "08", "21", "29"])
def test_claims_of_classification(claim):
    """Table 1 in two parts, as the study has it."""
    seeing = {k: TABLE_1[k] for k in ("grad-cam", "rise", "iba", "ibisa", "ibisa, each")}
    own = {k: v for k, v in TABLE_1.items() if k not in seeing}
    table = pd.concat(
        [made_up(f"scenes, m, {name}", of) for name, of in {"a": seeing, "b": own}.items()]
    )
    assert outcome(f"p-ibisa-{claim}", table) == HOLDS
    against = (
        opposed(table)
        if claim != "08"
        else table.assign(value=table.value + 0.2 * (table.method == "beta=1"))
    )
    assert outcome(f"p-ibisa-{claim}", against) == FAILS


def test_claims_of_retrieval():
    better = {
        "p-ibisa": {"conf-drop": 1, "conf-incr": 20, "map-tv": 0.1},
        "sbsm": {"conf-drop": 2, "conf-incr": 0, "map-tv": 0.2},
        "integrated-gradients": {"conf-drop": 3, "conf-incr": 0, "map-tv": 0.3},
    }
    alike = {"p-ibisa": {"map-spearman": 0.9}, "sbsm": {"map-spearman": 0.5}}
    sides = [made_up(k, better, dataset=f"gallery, {k}") for k in ("query", "retrieved")]
    table = pd.concat([*sides, made_up("query", alike, dataset="gallery, query")])
    item = pd.DataFrame(
        dict(method="p-ibisa", with_item=2 + 0.1 * np.arange(N), without=1.0, part="shared item")
    )
    table = pd.concat([table, item])
    for claim in ("13", "14", "15", "16"):
        assert outcome(f"p-ibisa-{claim}", table) == HOLDS, claim
    against = opposed(table, "value", "with_item")
    assert [outcome(f"p-ibisa-{c}", against) for c in ("13", "15", "16")] == [FAILS] * 3


def test_claims_of_captions_stay_untested_with_a_stand_in():
    good = {f"cap-morf-{k}": 0.2 for k in claimed.CAPTION_SCORES}
    good |= {f"cap-lerf-{k}": 0.8 for k in claimed.CAPTION_SCORES}
    fair = {k: 0.3 if "morf" in k else 0.6 for k in good}
    poor = dict.fromkeys(good, 0.5)
    methods = {"p-ibisa": good, "m2ib": fair, "nib": fair, "random 0": poor, "random 1": poor}
    for claim in ("05", "06"):
        found = decided(f"p-ibisa-{claim}", made_up("table 3", methods))
        assert found.outcome == UNTESTABLE and f": {HOLDS}" in found.why
        assert found.n == N


def test_claims_of_contrast_and_search():
    pairs = made_up("p", {"p-ibisa": dict(shared=0.3, differing=-0.2)})
    assert outcome("p-ibisa-17", pairs) == HOLDS
    assert outcome("p-ibisa-17", opposed(pairs)) == FAILS
    found = pd.DataFrame(dict(rests_on=[0] * N, p_ibisa=[1] * 15 + [0] * 5, ibisa=0, high=1.0))
    found["low"] = np.where(found.p_ibisa == 1, 2.0 + found.index / 100, np.nan)
    assert outcome("p-ibisa-18", found) == outcome("p-ibisa-19", found) == HOLDS
    other = found.assign(p_ibisa=found.ibisa, ibisa=found.p_ibisa)
    assert outcome("p-ibisa-18", other) == FAILS
    assert outcome("p-ibisa-19", opposed(found, "low")) == FAILS


def test_sparser_with_every_beta_takes_the_rest_of_table_5():
    def of(model, part, *betas):
        means = {f"beta={b}": {"map-area": 1 / (1 + float(b))} for b in betas}
        return made_up(part, means, model=model)

    own = pd.concat(
        [of("cnn", "cnn", "0.5", "1", "2", "3", "10", "100")]
        + [of("vit", "vit, some", "0.5", "2", "3")]
    )
    table_5 = pd.concat([of("vit", "s, vit, a", "1", "10", "100"), of("other", "s, other, a", "1")])
    found = decided("p-ibisa-20", own, table_5)
    assert found.outcome == HOLDS and set(found.evidence.model) == {"cnn", "vit"}
    assert outcome("p-ibisa-20", opposed(own), opposed(table_5)) == FAILS


def test_learned_weights_beside_the_best_fixed_ones():
    drops = {"learnable": 1.0, "beta=1": 1.0, "p-ibisa": 3.0, "beta=3": 4.0}
    captions = made_up("scenes", {k: {"conf-drop": v} for k, v in drops.items()})
    classes = made_up("scenes, m, a", {k: TABLE_1[k] for k in ("p-ibisa", "beta=1", "beta=10")})
    assert outcome("p-ibisa-23", captions, classes) == HOLDS
    worse = captions.assign(value=captions.value + 2 * (captions.method == "learnable"))
    assert outcome("p-ibisa-23", worse, classes) == FAILS


def test_claims_of_optimisation():
    runs = [
        dict(picture=f"{i}", rate=rate, t=t, weight=5.0 if t else 50.0, area=0.2 + i / 1000)
        | dict(finite=True, held=False, lowest=-1.0, gain=0.1, part="learned weights")
        for i in range(100)
        for rate in (0.0, 0.1, 1.0)
        for t in (True, False)
    ]
    runs = pd.DataFrame(runs)
    assert outcome("p-ibisa-24", runs) == outcome("p-ibisa-25", runs) == HOLDS
    swapped = runs.assign(t=~runs.t, held=runs.rate == 0.1)
    assert outcome("p-ibisa-24", swapped) == outcome("p-ibisa-25", swapped) == FAILS
    alike = {"masks=1": {"map-spearman": 0.2}, "masks=20": {"map-spearman": 0.8}}
    moved = {"p-ibisa": {"cosine-change": 0.2, "map-area-change": -0.3}}
    ends = made_up("starts and ends", alike | moved)
    assert outcome("p-ibisa-26", ends) == outcome("p-ibisa-28", ends) == HOLDS
    assert outcome("p-ibisa-26", opposed(ends)) == outcome("p-ibisa-28", opposed(ends)) == FAILS


def test_costs_are_those_of_printed_settings():
    rows = unit_of("p-ibisa-optimisation", "costs")
    spent = claimed.of_costs(rows)["costs"]
    assert spent.forwards.to_dict() == {"p-ibisa": 4, "ibisa": 20, "rise": 40}
    dear = rows.assign(forwards=[300, 20, 4000], backwards=[300, 10, 0], seconds=[3, 0.2, 9])
    assert outcome("p-ibisa-27", dear) == FAILS
    assert (
        outcome(
            "p-ibisa-27",
            dear.assign(forwards=[20, 20, 4000], backwards=[10, 10, 0], seconds=[1, 1, 9]),
        )
        == HOLDS
    )


def test_any_encoder():
    share = {"p-ibisa": {"energy-in-mask": 0.5}, "random": {"energy-in-mask": 0.2}}
    hits = pd.DataFrame(dict(hit=[1.0] * N, p_ibisa=0.9 + np.arange(N) / 1000, random=0.1))
    rows = pd.concat([hits.assign(part="planted"), made_up("starts and ends", share)])
    classified = pd.concat([made_up(f"s, {k}, a", share, model=k) for k in ("cnn", "vit")])
    assert len(decided("p-ibisa-30", rows, classified).evidence) == 5
    assert outcome("p-ibisa-30", rows, classified) == HOLDS
    assert outcome("p-ibisa-30", rows.assign(hit=0.0), classified) == FAILS


def test_encoders_that_are_no_examples_test_nothing():
    for claim in ("p-ibisa-09", "p-ibisa-10"):
        found = decided(claim, pd.DataFrame(columns=["model"]))
        assert found.outcome == UNTESTABLE
    known = claimed.with_label_free(pd.DataFrame())["known"]
    assert {row.name for row in known} < {row.name for row in measured()}


def test_every_claim_reads_a_study_but_the_limit_of_scope():
    own = [claim for claim in claims().index if claim.startswith("p-ibisa-")]
    without = [claim for claim in own if not hasattr(function_of(claim), "reads")]
    assert without == ["p-ibisa-31"]
