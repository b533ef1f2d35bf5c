"""Studies, their evidence, and its check; on toys. Evidence that is committed: test_evidence.py."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from xai_utils import metrics, studies
from xai_utils.data import load_dataset
from xai_utils.methods import grad_cam, p_ibisa, random_map
from xai_utils.papers import evidence as readings
from xai_utils.papers import function_of, judged
from xai_utils.studies import EvidenceMissing, Judged, Measured, Study, agree, evidence
from xai_utils.studies.tolerance import AMPLIFIED, ELSEWHERE, SAME


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "evidence")


class Calls(list):
    key = "what was thrown"  # no part of what a study depends on


CALLS = Calls()


def thrown(unit: int, sides: int) -> list[dict]:
    """A throw of dice, as a study measures it."""
    CALLS.append(unit)
    rng = np.random.default_rng(unit)
    eyes = int(rng.integers(1, sides + 1))
    half = torch.tensor(eyes / 2)
    return [dict(sides=sides, eyes=eyes, half=half, high=eyes > 3, none=math.inf, name="a die")]


def dice(n=12, sides=6) -> Study:
    part = Measured(name="dice", n=n, measure=partial(thrown, sides=sides))
    return Study(name="dice", asks="?", parts=lambda profile: [part])


def photographs(n):
    return list(load_dataset("photos", n=n))


METHODS = {"grad-cam": grad_cam, "random": random_map}
METRICS = {"conf-drop": metrics.confidence_drop, "iou": metrics.iou}


def maps(n=3, methods=METHODS) -> Study:
    part = Judged(
        name="photographs",
        model="conse-lite0",
        samples=partial(photographs, n),
        methods=methods,
        metrics=METRICS,
    )
    return Study(name="maps", asks="?", parts=lambda profile: [part])


def made(study, tmp_path, profile="embedded"):
    evidence.compute(study, profile, scratch=tmp_path / "scratch")
    return evidence.load(study, profile)


def test_rows_come_back_as_they_were_made(tmp_path):
    rows = made(dice(), tmp_path).rows
    assert list(rows.unit) == list(range(12)) and set(rows.part) == {"dice"}
    assert rows.eyes.dtype.kind == "i" and rows.high.dtype == bool
    assert (rows.half == rows.eyes / 2).all() and np.isinf(rows.none).all()


def test_rows_of_judged_parts_are_those_of_evaluate(tmp_path):
    found = made(maps(), tmp_path).rows
    assert list(found.columns[:4]) == ["dataset", "model", "modality", "sample"]
    assert len(found) == 3 * 2 * 2 and (found.error == "").all()
    assert set(found.dataset) == {"photographs"} and list(found.unit.unique()) == [0, 1, 2]


def test_evidence_says_what_made_it(tmp_path):
    told = made(maps(), tmp_path).made["photographs"]
    assert told["declared"]["methods"] == {"grad-cam": "grad_cam()", "random": "random_map()"}
    assert told["declared"]["samples"] == "photographs(3)"
    assert told["versions"]["torch"] == torch.__version__
    assert told["machine"] and told["date"] and len(told["source"]) == 64


def test_a_second_call_computes_nothing(tmp_path):
    study = dice()
    made(study, tmp_path)
    CALLS.clear()
    assert evidence.compute(study, "embedded", scratch=tmp_path / "other") == []
    assert CALLS == []
    assert evidence.compute(study, "embedded", anew=True, scratch=tmp_path / "new") == ["dice"]
    assert sorted(CALLS) == list(range(12))


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    """Units that were computed before the stop are not computed again."""
    CALLS.clear()
    write = evidence.save
    monkeypatch.setattr(evidence, "save", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evidence.compute(dice(), "embedded", scratch=tmp_path / "scratch")
    monkeypatch.setattr(evidence, "save", write)
    made(dice(), tmp_path)
    assert sorted(CALLS) == list(range(12))


def test_another_declaration_is_computed_anew(tmp_path):
    made(dice(), tmp_path)
    assert evidence.compute(dice(sides=20), "embedded", scratch=tmp_path / "s") == ["dice"]
    assert evidence.load(dice()).rows.eyes.max() > 6


def test_what_has_changed_without_another_result_is_not_stale(tmp_path, monkeypatch):
    """A new source whose check agrees keeps the rows; one whose check differs does not."""
    study = dice()
    made(study, tmp_path)
    source = evidence.source_of
    monkeypatch.setattr(evidence, "source_of", lambda part: source(part)[::-1])
    assert evidence.compute(study, "embedded", scratch=tmp_path / "other") == []
    monkeypatch.setattr(evidence, "source_of", lambda part: "new")
    spoil(evidence.file_of(study, "embedded"), lambda rows: rows.assign(eyes=rows.eyes + 1))
    assert evidence.compute(study, "embedded", scratch=tmp_path / "other") == ["dice"]


def spoil(file, change):
    """Change the rows of a file of evidence and leave what it says of them."""
    table = pq.read_table(file)
    rows = change(table.to_pandas())
    changed = type(table).from_pandas(rows, preserve_index=False)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)


def test_a_check_agrees_with_what_was_computed(tmp_path):
    for study in (dice(), maps()):
        found = made(study, tmp_path)
        checked = found.check(4, seed=1)
        assert len(checked) and agree(checked)
        assert found.told(checked).endswith("agree")


@pytest.mark.slow
@pytest.mark.parametrize("column", ["eyes", "half", "high", "name", "none"])
def test_a_changed_row_is_found(tmp_path, column):
    """In 20 of 20 tries, k large enough to see every case."""
    study = dice(n=4)
    made(study, tmp_path)
    other = {"high": lambda v: not v, "name": lambda v: "a coin", "none": lambda v: 1.0}
    change = other.get(column, lambda v: v + 1)

    def one(rows):
        rows[column] = rows[column].astype(object)
        rows.loc[2, column] = change(rows.loc[2, column])
        return rows.infer_objects()

    spoil(evidence.file_of(study, "embedded"), one)
    found = evidence.load(study)
    assert not any(agree(found.check(60, seed=seed)) for seed in range(20))


@pytest.mark.slow
def test_a_changed_value_of_a_map_is_found(tmp_path):
    study = maps(n=2)
    made(study, tmp_path)
    spoil(
        evidence.file_of(study, "embedded"),
        lambda rows: rows.assign(value=rows.value.where(rows.index != 5, rows.value + 0.01)),
    )
    found = evidence.load(study)
    assert not agree(found.check(30, seed=0))


@pytest.mark.slow
def test_on_another_machine_rounding_is_forgiven_and_a_changed_value_is_not(tmp_path, monkeypatch):
    study = maps(n=2)
    made(study, tmp_path)
    monkeypatch.setattr(evidence, "machine", lambda: "another processor")
    file = evidence.file_of(study, "embedded")
    spoil(file, lambda rows: rows.assign(value=rows.value * 1.0001))
    assert agree(evidence.load(study).check(10))
    spoil(file, lambda rows: rows.assign(value=rows.value + 50))
    assert not agree(evidence.load(study).check(10))


def test_it_says_how_many_units_there_are_and_what_a_check_found(tmp_path):
    found = made(dice(), tmp_path)
    assert "dice: n = 12" in found.told()
    assert found.told(found.check(1)).endswith("1 case computed again now: agrees")
    checked = found.check(20)
    cases = len(set(checked.unit))
    assert found.told(checked).endswith(f"{cases} cases computed again now: agree")
    wrong = checked.assign(agrees=False, yes_no=False)
    assert found.told(wrong).endswith("computed again now: DIFFER")


def test_elsewhere_more_is_forgiven_only_to_what_amplifies_rounding(tmp_path, monkeypatch):
    methods = {"p-ibisa": partial(p_ibisa, masks=1, steps=1), "random": random_map}
    found = made(maps(n=1, methods=methods), tmp_path)
    part = found.study.parts("embedded")[0]
    rows = [found.rows[found.rows.method == name].iloc[0] for name in methods]
    assert [found.within(part, row) for row in rows] == [SAME, SAME]
    monkeypatch.setattr(evidence, "machine", lambda: "another processor")
    assert [found.within(part, row) for row in rows] == [AMPLIFIED, ELSEWHERE]


def test_columns_that_differ_from_run_to_run_are_not_compared(tmp_path):
    part = Measured(name="dice", n=2, measure=partial(thrown, sides=6), loose=("eyes", "high"))
    study = Study(name="loose", asks="?", parts=lambda profile: [part])
    made(study, tmp_path)
    spoil(evidence.file_of(study, "embedded"), lambda rows: rows.assign(eyes=99, high=~rows.high))
    assert agree(evidence.load(study).check(5))


def test_data_that_are_not_here_are_passed_over(tmp_path, monkeypatch):
    study = dice()
    found = made(study, tmp_path)

    def lacking(part, row):
        raise studies.evidence.DataMissing("no dice")

    monkeypatch.setattr(Measured, "again", lacking)
    assert found.check(3).empty and agree(found.check(3))


def test_errors_name_what_is_missing(tmp_path):
    with pytest.raises(EvidenceMissing, match="make evidence STUDY=dice PROFILE=captioned"):
        evidence.load(dice(), "captioned")
    with pytest.raises(ValueError, match="profile"):
        evidence.load(dice(), "best")
    with pytest.raises(ValueError, match="name"):
        studies.load("no-such-study")
    with pytest.raises(ValueError, match="part"):
        made(dice(), tmp_path).part("coins")


def test_two_samples_of_one_name_are_an_error(tmp_path):
    picture = load_dataset("photos", n=1)[0]
    twice = [picture, replace(picture, caption="another")]
    part = maps().parts("embedded")[0]
    both = replace(part, samples=lambda: twice)
    with pytest.raises(ValueError, match="two samples are called"):
        both.compute(tmp_path / "scratch")


def test_claims_read_evidence(tmp_path, monkeypatch):
    """A claim is decided from the rows of the study that its function names, or not at all."""
    table = pd.DataFrame(
        dict(
            dataset="scenes",
            model="m",
            modality="image",
            sample=[f"{i}" for i in range(20) for _ in range(4)],
            method=["p-ibisa", "rise", "m2ib", "nib"] * 20,
            metric="conf-drop",
            value=[0.0, 1.0, 2.0, 3.0] * 20,
            part="scenes",
        )
    )

    def loaded(name, profile):
        if name != "p-ibisa-captions":
            raise EvidenceMissing(name)
        return evidence.Evidence(dice(), profile, table, made)

    made = {}
    monkeypatch.setattr(readings.studies, "load", loaded)
    assert judged("embedded", only=["p-ibisa-01"]) == {}  # its part, dice, is still missing
    made["dice"] = {}
    found = judged("embedded", only=["p-ibisa-01", "p-ibisa-30"])
    assert list(found) == ["p-ibisa-01"] and found["p-ibisa-01"].outcome == "holds"


def test_every_study_that_a_claim_reads_exists():
    from xai_utils.papers import claims

    for claim in claims().index:
        names, _ = getattr(function_of(claim), "reads", ((), None))
        assert set(names) <= studies.STUDIES.keys(), claim


@pytest.mark.parametrize("profile", studies.PROFILES)
@pytest.mark.parametrize("name", studies.STUDIES)
def test_studies_are_declared(name, profile):
    """Part names are all different, and a declaration can be kept: it names no address of an
    object."""
    parts = studies.STUDIES[name].parts(profile)
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert "0x" not in str(part.declared())
        assert part.described()
