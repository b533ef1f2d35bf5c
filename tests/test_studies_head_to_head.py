"""The head-to-head: what is tuned, what is blind, and that the settings in use are those that the
tuning found."""

from functools import partial

import pandas as pd
import pytest

from xai_utils import methods as m
from xai_utils import studies
from xai_utils.studies import head_to_head as h

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stamps")]


def test_the_settings_in_use_are_those_that_the_tuning_found():
    try:
        found = studies.load("head-to-head-tuning")
    except studies.EvidenceMissing:
        assert h.TUNED == {}
        return
    assert not found.missing()
    assert h.best(found.rows) == h.TUNED


def test_the_best_setting_is_that_of_the_highest_mean():
    values = {"nib: own": 0.3, "nib: block 3": 0.4, "nib: block 6": 0.1, "iba: own": 0.5}
    values |= {"iba: block 6": 0.2}
    lines = [(k, v + apart) for k, v in values.items() for apart in (-0.3, 0.3)]
    rows = pd.DataFrame(lines, columns=["method", "value"]).assign(part="a model")
    assert h.best(rows) == {"a model": {"nib": "block 3"}}


@pytest.mark.parametrize("model", h.MODELS)
def test_what_is_tuned_has_its_papers_own_setting_beside_it(model):
    offered = h.offered(model)
    own = {name.removesuffix(": own") for name in offered if name.endswith(": own")}
    assert own == {name.split(": ")[0] for name in offered}
    assert own == h.SETTINGS.keys() & h.methods_of(model, "image").keys()


def test_a_tuned_method_stands_beside_its_own(monkeypatch):
    monkeypatch.setattr(h, "TUNED", {h.VIT: {"nib": "block 6"}})
    part = h.images("embedded")[0]
    assert part.methods["nib, tuned"] is h.SETTINGS["nib"]["block 6"]
    assert part.methods["nib"] is m.nib


@pytest.mark.parametrize("side", h.SIDES)
def test_a_map_of_the_model_changes_with_it_and_a_random_one_does_not(side, monkeypatch):
    monkeypatch.setattr(h, "methods_of", lambda *_: {"nib": m.nib, "random": m.random_map})
    samples = dict(image=h.PICTURES, text=h.CAPTIONS)[side]["embedded"]["scenes"](h.VIT)
    given = dict(model=h.VIT, side=side, samples=samples)
    rows = pd.DataFrame(h.blindness(0, **given)).set_index("method").correlation
    assert rows["random"] == pytest.approx(1)
    assert abs(rows["nib"]) < 0.9
    timed = pd.DataFrame(h.seconds(0, **given)).set_index("method")
    assert timed.loc["nib", "forwards"] > timed.loc["random", "forwards"] == 0


def test_lessons_are_other_pictures_than_those_judged():
    lessons = {s.id for s in h.lessons("lit-lite0")}
    judged = {s.id for s in h.PICTURES["embedded"]["scenes"]("lit-lite0")()}
    assert len(lessons) == h.LESSONS and len(judged) == h.N and not lessons & judged


def test_a_block_is_a_share_of_the_depth(lit):
    x, t = lit.image.transform(h.lessons("lit-lite0")[0].image)[None], lit.encode_text(["a cat"])
    asked = partial(h.at, method=m.nib, twelfths=6)(lit.image, x, t)
    assert asked.map.equal(m.nib(lit.image, x, t, layer=lit.image.layer_at(0.5)).map)
