"""AHA's studies: one unit of each part that measures something of its own, with explainers that are
not trained; and each claim from made-up evidence in a study's shape."""

import math
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch

from xai_utils.metrics import perturbation_curve
from xai_utils.papers import FAILS, HOLDS, claims, evidence, function_of
from xai_utils.papers.claims.aha import CNN, RIVALS, VIT
from xai_utils.studies import STUDIES, EvidenceMissing, sets, shortcut
from xai_utils.studies import aha as studies
from xai_utils.studies.evidence import Evidence

pytestmark = pytest.mark.slow

N = 24


@pytest.fixture
def untrained(monkeypatch):
    """Explainers as they are before any training, by the names of trained ones."""

    @cache
    def loaded(name):
        return studies.new_explainer(sets.classifier(name.partition("/")[0]))

    monkeypatch.setattr(studies, "loaded", loaded)


def one_unit(study: str, part: str, unit: int = 0, **changed) -> pd.DataFrame:
    """The rows of one unit, with a few settings changed."""
    found = {p.name: p for p in STUDIES[study].parts("embedded")}[part]
    found = replace(found, measure=partial(found.measure, **changed))
    rows = found.measure(unit)
    assert all(isinstance(v, (bool, int, float, str)) for row in rows for v in row.values())
    return pd.DataFrame(rows)


def test_refined_maps_are_those_of_runs_with_so_many_steps(untrained):
    rows = one_unit("aha-refinement", "T", n=2, s=1, curve=2)
    assert list(rows.method.unique()) == ["T=0", "T=1", "T=3", "T=5"]
    assert set(rows.metric) == {*studies.curves(1), "iou", "energy-in-mask", "boundary-f"}
    c = studies.case("scenes", VIT, 2, 0)
    alone = studies.drawn(
        c.encoder, c.inputs, c.targets, explainer=studies.Trained(VIT), refine=3, s=1
    )
    iou = studies.metrics.iou(c.encoder, c.inputs, c.targets, alone.map, masks=c.masks).item()
    found = rows[rows.metric == "iou"].set_index("method").value
    assert found["T=3"] == pytest.approx(iou, abs=1e-6)
    assert found.nunique() > 1


def test_soft_scores_near_those_of_hard_masks_as_the_temperature_falls(untrained):
    rows = one_unit("aha-training", "soft and hard", n=2, curve=2)
    assert len(rows) == 3 * len(studies.TAUS) and set(rows.tau) == set(studies.TAUS)
    c = studies.case("scenes", VIT, 2, 0)
    call = c.encoder, c.inputs, c.targets
    map = studies.untrained(*call).map
    options = dict(block=1, steps=8, reference="blur")
    gone, kept = (perturbation_curve(*call, map, insert=i, **options) for i in (False, True))
    hard = (gone - kept)[0, 1::2].mean().item()  # at the four k of the soft masks
    soft = rows[rows.method == "untrained"].set_index("tau").soft
    apart = (soft - hard).abs().sort_index()
    assert apart.iloc[0] < 0.1 and apart.iloc[0] < apart.iloc[-1]


def test_costs_count_passes(untrained):
    rows = one_unit("aha-cost", "cost", masks=4).set_index("method")
    assert rows.forwards["aha"] == 1 and rows.backwards["aha"] == 0
    assert rows.forwards["rise"] == 4 and (rows.seconds > 0).all()


def test_a_model_learns_the_disc_and_its_maps_are_measured_there(untrained):
    few = dict(sizes=(8, 8, 4), steps=8, layer=11)
    said = pd.concat([one_unit("aha-shortcut", "answers", i, **few) for i in range(4)])
    by = said.groupby(["model", "disc"]).probability.mean()
    assert by["tuned", True] > 10 * by["clean", True]
    rows = one_unit("aha-shortcut", "maps", s=1, **few)
    assert set(rows.model) == {"clean", "tuned"} and rows.area.nunique() == 1
    share = rows.set_index(["model", "method"]).share
    assert share["tuned", "T=0"] == share["clean", "T=0"]
    assert share["tuned", "T=5"] != share["clean", "T=5"]
    fresh = sets.classifier.__wrapped__(VIT).weights  # the clean model is still what is shipped
    assert all(torch.equal(w, fresh[k]) for k, w in sets.classifier(VIT).weights.items())


def test_the_disc_is_white_where_its_mask_is():
    _, marked, disc = shortcut.held_out("scenes", (8, 8, 4), 1)
    pixels = torch.from_numpy(np.asarray(marked).copy())
    assert (pixels[disc] == 255).float().mean() > 0.97
    assert 0.015 < disc.float().mean() < 0.025


def test_models_are_sure_of_the_pictures():
    for sample in sets.sure("scenes", (VIT, CNN), 4):
        assert len(sample.things) == 1 and sample.label is not None
        for encoder in map(sets.classifier, (VIT, CNN)):
            p = encoder.head(encoder(encoder.transform(sample.image)[None])).softmax(1)
            assert p.max() >= 0.2


def test_what_rows_depend_on_names_the_weights_of_an_explainer(monkeypatch):
    monkeypatch.setattr(studies, "checksums", lambda: {"aha-vit-photos-s2.safetensors": "abc"})
    assert studies.Trained("vit-photos/s2").key == "vit-photos/s2 abc"
    part = STUDIES["aha-refinement"].parts("embedded")[1]
    before = part.described()
    monkeypatch.setattr(studies, "checksums", lambda: {"aha-vit-photos-s2.safetensors": "abd"})
    assert part.described() != before


def spread(mean: float, size: float = 0.01) -> np.ndarray:
    """N values of that mean."""
    return mean + size * np.linspace(-1, 1, N)


def judged_rows(part: str, means: dict, model: str = VIT) -> pd.DataFrame:
    """Rows of a part as `evaluate` has them: metric -> method -> mean."""
    frames = [
        pd.DataFrame(
            dict(dataset=part, model=model, modality="image", method=method, metric=metric)
            | dict(sample=[f"s{i}" for i in range(N)], cluster=[f"s{i}" for i in range(N)])
            | dict(value=spread(mean, 0.001 * (1 + k % 3)), forwards=1, backwards=0, unit=range(N))
        )
        for metric, of in means.items()
        for k, (method, mean) in enumerate(of.items())
    ]
    return pd.concat(frames).assign(part=part, error="", seed=0)


def contest(sign: float, rivals=RIVALS) -> dict:
    """A table in which AHA leads by `sign`, or stands behind."""
    better = {"insertion-auc": 1, "deletion-auc": -1}
    return {m: {"aha": s * sign, **dict.fromkeys(rivals, 0.0)} for m, s in better.items()}


def scores(sign: float) -> pd.DataFrame:
    on_vit = contest(sign)
    on_vit |= {m: {"aha": sign, **dict.fromkeys(RIVALS, 0.0)} for m in ("iou", "boundary-f")}
    for k, method in enumerate(RIVALS):  # a rank order that all three share
        for metric, s in {"insertion-auc": 0.01, "deletion-auc": -0.01, "iou": 0.01}.items():
            on_vit[metric][method] += s * k
    parts = [
        judged_rows("predicted", on_vit),
        judged_rows("labelled", contest(sign, RIVALS[2:])),
        judged_rows("predicted, CNN", contest(sign / 2, RIVALS[:3]), CNN),
    ]
    table = pd.concat(parts)
    table.loc[table.method == "rise", "forwards"] = 1000
    return table


def refinement(sign: float) -> pd.DataFrame:
    of_t = {
        "deletion-auc": {"T=0": 1.0, "T=3": 1 - 0.12 * sign, "T=5": 0.8},
        "insertion-auc": {"T=0": 0.0, "T=5": sign},
        "energy-in-mask": {"T=0": 0.5, "T=5": 0.5 + sign / 10},
        "iou": {"T=0": 0.5, "T=5": 0.5 + sign / 10},
    }
    of_s = {"insertion-auc": {"S=1": 0.0, "S=8": sign}}
    return pd.concat([judged_rows("T", of_t).assign(dataset="scenes"), judged_rows("S", of_s)])


def training(sign: float) -> pd.DataFrame:
    rows = []
    for i in range(N):
        for k, method in enumerate(("trained", "untrained", "random")):
            hard = {"deletion-auc": sign * k + i / 100, "insertion-auc": -sign * k}
            soft = sign * (hard["deletion-auc"] - hard["insertion-auc"]) + (i % 5) / 10
            both = dict(soft=soft) | hard
            rows += [dict(sample=f"s{i}", method=method, tau=t, unit=i) | both for t in (1, 0.1)]
    measured = pd.DataFrame(rows).assign(part="soft and hard")
    other = {"deletion-auc": {VIT: 1.0, CNN: 1.0 if sign > 0 else 1.5}}
    return pd.concat([measured, judged_rows(f"explainers on {VIT}", other)], ignore_index=True)


def costs(sign: float) -> pd.DataFrame:
    seconds = {"aha": 0.02 if sign > 0 else 2.0, "legrad": 0.05, "rise": 1.5}
    rows = [dict(model=m, method=k, seconds=v) for k, v in seconds.items() for m in (VIT, CNN)]
    table = pd.DataFrame(rows).assign(backwards=0, part="cost")
    return table.assign(forwards=np.where(table.method == "rise", 100, 1))


def shortcuts(sign: float) -> pd.DataFrame:
    means = {("tuned", 5): 0.02 + sign / 50, ("clean", 5): 0.02}
    means |= {("tuned", 0): 0.02, ("clean", 0): 0.02}
    rows = [
        dict(model=model, method=f"T={t}", share=share, unit=i, area=0.02, part="maps")
        for (model, t), mean in means.items()
        for i, share in enumerate(np.roll(spread(mean, 0.001), t * (model == "tuned")))
    ]
    said = dict(model="tuned", unit=0, part="answers", says=True, share=math.nan)
    return pd.DataFrame([*rows, said])


MADE = {
    "aha-scores": scores,
    "aha-refinement": refinement,
    "aha-training": training,
    "aha-cost": costs,
    "aha-shortcut": shortcuts,
}
READ = [c for c in claims().query("paper == 'aha'").id if hasattr(function_of(c), "reads")]


def decided(claim: str, sign: float, monkeypatch, change=lambda rows: rows):
    def load(name, profile):
        whole = {part.name: {} for part in STUDIES[name].parts(profile)}
        return Evidence(STUDIES[name], profile, change(MADE[name](sign)), whole)

    monkeypatch.setattr(evidence.studies, "load", load)
    return evidence.from_evidence(function_of(claim), "embedded")


def test_all_claims_but_the_one_without_explainers_read_a_study():
    assert len(READ) == 14 and "aha-11" not in READ


@pytest.mark.parametrize("claim", [c for c in READ if c != "aha-03"])
def test_claims_are_decided_from_evidence(claim, monkeypatch):
    assert decided(claim, 1, monkeypatch).outcome == HOLDS
    assert decided(claim, -1, monkeypatch).outcome == FAILS


def test_one_patch_size_leaves_a_claim_untestable_and_says_what_was_found(monkeypatch):
    found = decided("aha-03", 1, monkeypatch)
    assert found.outcome not in (HOLDS, FAILS) and "32 pixels" in found.why and "holds" in found.why
    assert set(found.evidence.dataset) == {"predicted", "labelled"}


@pytest.mark.parametrize("claim", ["aha-05", "aha-09", "aha-13"])
def test_without_masks_there_is_no_evidence_of_places(claim, monkeypatch):
    without = lambda rows: rows[rows.metric.isin(["deletion-auc", "insertion-auc"])]  # noqa: E731
    with pytest.raises(EvidenceMissing, match="masks"):
        decided(claim, 1, monkeypatch, without)
