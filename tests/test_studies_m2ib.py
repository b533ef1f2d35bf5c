"""M2IB's studies: one unit of each measured part, and what the claims take of the rows."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import xai_utils as xu
from xai_utils import metrics, studies
from xai_utils.papers import FAILS, HOLDS, claims, function_of
from xai_utils.papers.claims import m2ib as claimed
from xai_utils.studies import Judged, Measured, m2ib_measures, sets
from xai_utils.studies.base import from_json, to_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stamps")]
UNITS = 7
PAIRS = partial(sets.scenes, "vit-photos", 8, objects=2, seed=1)
QUICK = dict(samples=PAIRS, size=4, repeats=1, spare=PAIRS, masks=dict(image=4, text=4))
PARTS = {
    (name, part.name): part
    for name in studies.STUDIES
    if name.startswith("m2ib-")
    for part in studies.STUDIES[name].parts("embedded")
}
MEASURED = [key for key, part in PARTS.items() if isinstance(part, Measured)]
CLAIMS = [claim for claim in claims().index if claim.startswith("m2ib-")]


@pytest.fixture(autouse=True)
def fewer_settings(monkeypatch):
    some = [v for v in m2ib_measures.SETTINGS if v[0] == 9 and 0.1 in v[1:] or v[1] == v[2] == 1]
    some += [(9, 0.01, 1.0)]
    monkeypatch.setattr(m2ib_measures, "SETTINGS", some)


@cache
def unit_of(study: str, part: str) -> pd.DataFrame:
    """A unit of a part with few pairs and masks."""
    measure = PARTS[study, part].measure
    given = {
        k: QUICK[k] if k in QUICK and v is not None else v for k, v in measure.keywords.items()
    }
    if part == "tuned":
        given |= dict(samples=partial(sets.domain, 12), lessons=10)
    return from_json(to_json(measure.func(0, **given))).assign(part=part)


def made_up(part: Judged) -> pd.DataFrame:
    """Rows in the shape of a judged part, of things two a picture, with values at random."""
    rng, rows = np.random.default_rng(0), []
    for unit in range(UNITS):
        for thing in (0, 1) if part.target == "things" else (None,):
            name = f"{unit}" if thing is None else f"{unit}/{thing}"
            for method in part.methods:
                for metric in part.metrics:
                    own = dict(sample=name, cluster=f"{unit}", unit=unit)
                    if metric == "roar-plus":
                        own = dict(sample=f"repeat {unit}", cluster=f"repeat {unit}", unit=-1)
                    yes = {"conf-incr": 100, "instance-recall": 1}.get(metric, 0)
                    value = float(yes * rng.integers(2)) if yes else rng.random()
                    rows.append(own | dict(method=method, metric=metric, value=value))
    return pd.DataFrame(rows).assign(
        dataset=part.name, model=part.model, modality=part.modality, part=part.name
    )


def varied(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one unit as those of several, whose numbers differ a little."""
    rng, frames = np.random.default_rng(0), []
    for unit in range(UNITS):
        frame = rows.copy()
        for column in frame.select_dtypes("float").columns.difference(["beta", "sigma2"]):
            frame[column] += 1e-3 * rng.standard_normal(len(frame))
        frames.append(frame.assign(unit=unit))
    return pd.concat(frames, ignore_index=True)


@cache
def rows_of(study: str) -> pd.DataFrame:
    frames = []
    for (name, part), declared in PARTS.items():
        if name != study:
            continue
        own = made_up(declared) if isinstance(declared, Judged) else varied(unit_of(name, part))
        frames.append(settings() if part == "settings, image" else own)
    return pd.concat(frames, ignore_index=True)


def settings() -> pd.DataFrame:
    """The part whose units are settings, made up: the larger the imbalance, the worse."""
    k = np.arange(27)
    own = dict(imbalance=k / 10, iou=1 - k / 100, roar_plus=10.0 - k, unit=k)
    return pd.DataFrame(own).assign(part="settings, image")


def decided(claim: str):
    function = function_of(claim)
    names, given = function.reads
    tables = [rows_of(name) for name in names]
    return function(*tables) if given is None else function(**given(*tables))


@pytest.mark.parametrize("key", MEASURED, ids=" ".join)
def test_a_unit_gives_rows_of_plain_values(key):
    rows = unit_of(*key)
    assert len(rows) and rows.notna().any().all()
    assert not np.isinf(rows.select_dtypes("number").to_numpy()).any()


@pytest.mark.parametrize("study", sorted({study for study, _ in PARTS}))
def test_the_parts_of_a_study_fit_into_one_file(study):
    """No column holds words in one part and numbers in another."""
    table = pa.Table.from_pandas(rows_of(study), preserve_index=False)
    assert table.num_rows == len(rows_of(study))


def test_every_claim_reads_a_study():
    assert all(function_of(claim).reads[0] for claim in CLAIMS)


SAMPLED = [c for c in CLAIMS if c not in ("m2ib-07", "m2ib-29", "m2ib-20", "m2ib-28")]


@pytest.mark.parametrize("claim", SAMPLED)
def test_a_claim_counts_what_is_independent(claim):
    """The units of a part, whatever number of things, texts or settings each has; both sets that
    have things of two kinds together in claim 25."""
    assert decided(claim).n == (2 * UNITS if claim == "m2ib-25" else UNITS)


def test_settings_are_what_is_sampled_where_they_are_compared():
    assert decided("m2ib-20").n == 27 and decided("m2ib-20").outcome == HOLDS
    assert decided("m2ib-28").n == 27 and decided("m2ib-28").outcome == HOLDS


def test_costs_count_both_sides_and_all_masks():
    """200 noisy passes and the two of the prefix, against 2,048 + 256."""
    rows = unit_of("m2ib-costs", "both sides").assign(unit=0)
    costs = claimed.of_costs(rows)["costs"].set_index("method")
    assert costs.forwards["m2ib"] == 202 and costs.forwards["rise"] == 2304
    assert decided("m2ib-07").outcome == FAILS


def test_the_drawn_kinds_of_towers_are_read_at_one_place():
    rows = unit_of("m2ib-method", "planted")
    assert list(rows.tower) == ["cells", "tokens", "text"] and rows.hit.all()


# --- metrics of the studies


def test_boxes_are_filled_and_apart():
    places = torch.zeros(1, 2, 6, 6, dtype=torch.bool)
    places[0, 0, 1, 1] = places[0, 0, 3, 2] = True
    places[0, 1, 5, 5] = True
    wanted = torch.zeros_like(places)
    wanted[0, 0, 1:4, 1:3] = True
    wanted[0, 1, 5, 5] = True
    assert torch.equal(m2ib_measures.boxed(places), wanted)


def test_evenness_is_that_of_the_two_things_of_the_picture():
    """With the caption as target, what the names as targets give."""
    pictures = PAIRS()[:2]
    joint = xu.cases("vit-photos", pictures)
    named = xu.cases("vit-photos", pictures, target="things").take([0, 2])
    maps = {"random": xu.methods.random_map(joint.encoder, joint.inputs, joint.targets).map}
    for own, known in (
        (m2ib_measures.evenness, metrics.evenness),
        (m2ib_measures.weaker_thing, metrics.weaker_thing),
    ):
        here, there = xu.score(maps, joint, [own]), xu.score(maps, named, [known])
        assert (here.error == "").all() and here.value.tolist() == there.value.tolist()


def test_places_are_known_where_all_samples_have_as_many():
    two, one = PAIRS()[:1], sets.scenes("vit-photos", 1, seed=1)
    assert xu.cases("vit-photos", two).places.shape == (1, 2, 224, 224)
    assert xu.cases("vit-photos", [*two, *one]).places is None


def test_what_needs_places_says_so():
    bare = xu.cases("vit-photos", [replace(PAIRS()[0], things=())])
    map = torch.rand(1, 224, 224)
    with pytest.raises(ValueError, match="needs places: samples with things"):
        xu.score({"a map": map}, bare, [m2ib_measures.box_iou])


@pytest.mark.parametrize("side", ["image", "text"])
def test_an_experiment_is_roar_plus_on_pairs_of_its_own(side):
    c = xu.cases("vit-photos", PAIRS(), modality=side)
    a = xu.methods.random_map(c.encoder, c.inputs, c.targets)
    recipe = dict(blocks=1, epochs=1, lr=1e-3)
    options = dict(repeats=2, recipe=recipe, spare=PAIRS)
    found = xu.score(
        {"random": a}, c, {"roar-plus": partial(m2ib_measures.roar_plus, size=4, **options)}
    )
    last = c.take(range(4, 8))
    map = a.map[4:]
    if side == "text":
        map = map[:, : max(len(words) for words in last.tokens)]
    texts = last.texts if side == "image" else last.inputs
    call = c.model, last.images, texts
    spare = m2ib_measures.whole_pairs("vit-photos", PAIRS)
    own = {f"{side}_map": map} | recipe
    alone = metrics.roar_plus(*call, repeats=2, spare=spare, **own).mean().item()
    assert list(found["sample"]) == ["repeat 0", "repeat 1"] and (found.error == "").all()
    assert found.value.iloc[1] == pytest.approx(alone, abs=1e-4) and found.value.nunique() == 2


def test_tokens_are_counted():
    c = xu.cases("vit-photos", PAIRS()[:3], modality="text")
    a = xu.methods.random_map(c.encoder, c.inputs, c.targets)
    rows = xu.score({"random": a}, c, [m2ib_measures.tokens])
    assert rows.value.tolist() == [len(words) for words in c.tokens]
