"""What evaluate must not mix up, lose or touch: keys, foreign files, failures, metrics of sets."""

import importlib
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import xai_utils as xu
from xai_utils.data import Dataset, Sample, Thing
from xai_utils.keys import describe
from xai_utils.methods import random_map
from xai_utils.metrics import (
    caption_ranks,
    confidence_drop,
    iou,
    map_area,
    mismatch_auc,
    roar_plus,
    zero_shot_roar,
)
from xai_utils.scoring import tabulate
from xai_utils.types import Attribution

NONE = dict(forwards=0, backwards=0)
CALLS = []  # samples that `noted` has explained


def noted(encoder, inputs, targets, *, power=1.0):
    """A map that says when it is computed."""
    CALLS.append(len(inputs))
    return Attribution(map=inputs.abs().mean(1) ** power, unit="none", signed=False, cost=NONE)


def of_embedding(encoder, inputs, targets):
    """A map that changes with whatever changes the embedding."""
    CALLS.append(len(inputs))
    with torch.no_grad():
        level = encoder(inputs).float().sum(1)
    map = inputs.mean(1) + level[:, None, None]
    return Attribution(map=map, unit="none", signed=True, cost=NONE)


def picture(i: int) -> Image.Image:
    noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3))
    return Image.fromarray(noise.astype(np.uint8))


def sample(i: int, **more) -> Sample:
    things = (Thing("a square", (2, 2, 12, 12)), Thing("a bar", (16, 4, 30, 8)))
    return Sample(f"s{i}", picture(i), f"picture {i}", things, **more)


def samples(n=4) -> Dataset:
    return Dataset("noise", n, sample)


def colour(images):
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)


def encoder(function=colour):
    return xu.wrap(function, name="mine", image_size=32)


def run(out, *, methods=None, model=None, dataset=None, metrics=None, target="self", **more):
    CALLS.clear()
    methods = methods or {"noted": noted}
    model = encoder() if model is None else model
    dataset = samples() if dataset is None else dataset
    return xu.evaluate(
        methods, model, dataset, metrics or [map_area], out=out, target=target, **more
    )


# Files that are not its own


def test_files_of_others_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"mine": [1]}).to_parquet("table.parquet")
    pd.DataFrame({"key": ["x"]}).to_parquet("rows-mine.parquet")
    (tmp_path / ("a" * 64 + ".parquet")).write_bytes(b"not even parquet")
    (tmp_path / f"rows-{'b' * 64}.parquet").write_bytes(b"cut short")
    (tmp_path / ".part-of-something").write_bytes(b"x")
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    run("")
    run("")
    assert CALLS == []
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


# Keys: every change of what is computed is computed again


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.conv(x))).mean((2, 3))


def changed(change):
    net = Net().eval()
    change(net)
    return encoder(net)


def statistics(net):
    net.norm.running_mean += 0.01


def activation(net):
    net.act = nn.GELU()


def weight(net):
    with torch.no_grad():
        net.conv.weight[0, 0, 0, 0] += 1e-3


@pytest.mark.parametrize("change", [statistics, activation, weight])
def test_a_changed_network_is_computed_again(tmp_path, change):
    one = run(tmp_path, methods={"m": of_embedding}, model=changed(lambda net: None))
    assert len(CALLS) == 4
    run(tmp_path, methods={"m": of_embedding}, model=changed(lambda net: None))
    assert CALLS == []
    two = run(tmp_path, methods={"m": of_embedding}, model=changed(change))
    assert len(CALLS) == 4
    assert (one.value != two.value).all()


def test_a_changed_function_or_transform_or_weight_behind_a_lambda(tmp_path):
    run(tmp_path, model=encoder(lambda x: x.mean((2, 3))))
    run(tmp_path, model=encoder(lambda x: 2 * x.mean((2, 3))))
    assert len(CALLS) == 4
    net = Net().eval()
    run(tmp_path, model=encoder(lambda x: net(x)))
    weight(net)
    run(tmp_path, model=encoder(lambda x: net(x)))
    assert len(CALLS) == 4
    darker = replace(encoder(), transform=lambda pil: encoder().transform(pil) * 0.5)
    run(tmp_path, model=darker)
    assert len(CALLS) == 4


def test_a_changed_label_caption_or_mask(tmp_path):
    labelled = [sample(i, label=0) for i in range(2)]
    model = replace(encoder(), head=nn.Linear(6, 4))
    run(tmp_path, model=model, dataset=labelled, target="label")
    run(tmp_path, model=model, dataset=[replace(s, label=1) for s in labelled], target="label")
    assert len(CALLS) == 2
    moved = [replace(s, things=(Thing("a square", (3, 2, 12, 12)),)) for s in labelled]
    run(tmp_path, model=model, dataset=moved, target="label", metrics=[iou])
    assert len(CALLS) == 2


def test_a_long_array_as_an_option(tmp_path):
    a = np.zeros(5000)
    b = a.copy()
    b[2500] = 1.0
    assert repr(a) == repr(b)  # which is why repr is no key
    run(tmp_path, methods={"w": partial(weighted, weights=a)}, metrics=[map_area])
    table = run(tmp_path, methods={"w": partial(weighted, weights=b)}, metrics=[map_area])
    assert len(CALLS) == 1 + 4  # the rehearsal of its options, and the cases
    assert (table.value == 1).all()


def weighted(encoder, inputs, targets, *, weights):
    CALLS.append(len(inputs))
    map = torch.full(inputs[:, 0].shape, float(weights.sum()))
    return Attribution(map=map, unit="none", signed=True, cost=NONE)


def test_a_helper_edited_in_a_module_or_a_cell(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from xai_utils.types import Attribution\n"
        "def level(x):\n    return x.mean(1) * {factor}\n"
        "def method(encoder, inputs, targets):\n"
        "    return Attribution(level(inputs), 'none', True, {{}}, dict(forwards=0, backwards=0))\n"
    ).replace("\\\n", "\n")
    values = []
    for factor in (1.0, 3.0):
        (tmp_path / "users_own.py").write_text(source.format(factor=factor))
        sys.modules.pop("users_own", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        module = importlib.import_module("users_own")
        sys.dont_write_bytecode = before
        values.append(run(tmp_path / "out", methods={"m": module.method}).value.to_numpy())
    np.testing.assert_allclose(values[1], 3 * values[0], rtol=1e-5)
    cell = dict(Attribution=Attribution, NONE=NONE, __name__="__main__")
    for factor in (5.0, 7.0):
        exec(f"def level(x):\n    return x.mean(1) * {factor}\n", cell)
        exec(
            "def method(encoder, inputs, targets):\n"
            "    return Attribution(level(inputs), 'none', True, {}, NONE)\n",
            cell,
        )
        found = run(tmp_path / "out", methods={"m": cell["method"]}).value.to_numpy()
        np.testing.assert_allclose(found, factor * values[0], rtol=1e-5)


def test_what_cannot_be_keyed_is_refused_and_key_speaks_for_it(tmp_path):
    class Opaque:
        __slots__ = ("key",)

    with pytest.raises(TypeError, match="attribute `key`"):
        run(tmp_path, methods={"m": partial(with_tool, tool=Opaque())})
    known = Opaque()
    for version, computed in (("version 1", 4), ("version 1", 0), ("version 2", 4)):
        known.key = version
        run(tmp_path, methods={"m": partial(with_tool, tool=known)})
        assert len(CALLS) == 1 + computed  # the rehearsal, and the cases


def with_tool(encoder, inputs, targets, *, tool):
    return noted(encoder, inputs, targets)


# Failures stay where they are


def test_a_picture_that_cannot_be_read_is_one_failed_case(tmp_path):
    file = tmp_path / "cut.png"
    picture(0).save(file)
    file.write_bytes(file.read_bytes()[:600])

    def make(i):
        if i == 1:
            return replace(sample(1), image=Image.open(file))
        if i == 2:
            raise OSError("no such picture")
        return sample(i)

    table = run(tmp_path / "out", dataset=Dataset("some", 4, make))
    assert len(table) == 4
    assert table.value.isna().tolist() == [False, True, True, False]
    assert "truncated" in table.error[1]
    assert table.error[2] == "OSError: no such picture"


def breaks(encoder, inputs, targets, map):
    raise RuntimeError("this metric is broken")


def not_a_number(encoder, inputs, targets, map):
    return torch.full((len(inputs),), float("nan"))


def test_a_failing_metric_leaves_the_others(tmp_path):
    metrics = {"broken": breaks, "nan": not_a_number, "area": map_area}
    table = run(tmp_path, metrics=metrics).set_index("metric")
    assert (table.loc["broken"].error == "RuntimeError: this metric is broken").all()
    assert (table.loc["nan"].error == "the metric returned NaN").all()
    assert table.loc["area"].value.notna().all()
    assert len(CALLS) == 4
    run(tmp_path, metrics={"area": map_area})
    assert CALLS == []  # the good values were kept


def always_fails(encoder, inputs, targets):
    raise RuntimeError("never")


def test_one_warning_where_all_rows_of_a_method_failed(tmp_path):
    methods = {"bad": always_fails, "good": noted}
    with pytest.warns(
        UserWarning, match="all 4 values of 'bad' failed.*RuntimeError: never"
    ) as seen:
        table = run(tmp_path, methods=methods)
    assert len([w for w in seen if "failed" in str(w.message)]) == 1
    assert table[table.method == "good"].value.notna().all()


def test_the_same_sample_twice_and_a_sample_without_a_label(tmp_path):
    table = run(tmp_path, dataset=[sample(0), sample(1), sample(0)])
    assert len(table) == 3
    assert table.value[0] == table.value[2]
    assert len(CALLS) == 2
    model = replace(encoder(), head=nn.Linear(6, 4))
    some = [sample(0, label=2), sample(1)]
    table = run(tmp_path, model=model, dataset=some, target="label")
    assert table.error[0] == ""
    assert "s1 has no label" in table.error[1]


# Metrics of sets


@pytest.fixture(scope="module")
def dual(conse):
    return conse


def pairs(n=12):
    scenes = xu.load_dataset("photos")
    return Dataset("photos", n, lambda i: replace(scenes[i % 9], id=f"{scenes[i % 9].id}-{i}"))


@pytest.mark.slow
def test_metrics_of_sets_see_the_whole_set_and_resume(tmp_path, conse):
    call = dict(model=conse, dataset=pairs(9), target="caption")
    metrics = [zero_shot_roar, caption_ranks, confidence_drop]
    table = run(tmp_path, metrics=metrics, **call)
    assert len(CALLS) == 9
    c = xu.cases(conse, pairs(9))
    direct = zero_shot_roar(c.encoder, c.inputs, c.targets, noted(c.encoder, c.inputs, None).map)
    assert table[table.metric == "roar"].value.tolist() == direct.tolist()
    assert table[table.metric == "caption-rank"].value.between(1, 9).all()
    assert set(table.groupby("metric").size()) == {9}
    again = run(tmp_path, metrics=metrics, **call)
    assert CALLS == []
    assert again.equals(table)
    more = run(tmp_path, metrics=[*metrics, map_area], **call)
    assert len(CALLS) == 9  # maps are kept for metrics of sets alone
    assert len(more) == 36
    rank = run(tmp_path, metrics={"t2i": partial(zero_shot_roar, direction="t2i")}, **call)
    assert CALLS == []  # a new metric of sets takes the maps that are there
    assert len(rank) == 9
    scored = xu.score(xu.explain({"noted": noted}, c), c, metrics)
    key = ["metric", "sample"]
    pd.testing.assert_series_equal(
        scored.set_index(key).value.sort_index(), table.set_index(key).value.sort_index()
    )


def test_roar_plus_through_evaluate(tmp_path, conse, monkeypatch):
    seen = []

    def cheap(part, data, whole, pairs, repeats, *recipe):
        seen.append(pairs)
        return torch.full((repeats,), 1.0 + 0.1 * len(seen))

    monkeypatch.setattr("xai_utils.metrics.retraining.validation_losses", cheap)
    metrics = {"roar-plus": partial(roar_plus, repeats=3)}
    call = dict(model=conse, dataset=pairs(12), target="caption", metrics=metrics)
    table = run(tmp_path, **call)
    assert table["sample"].tolist() == ["repeat 0", "repeat 1", "repeat 2"]
    assert seen == [12] * 4  # whole and degraded, in the rehearsal and in the run
    np.testing.assert_allclose(table.value, 100 * (1.4 - 1.3) / 1.3, rtol=1e-4)
    assert run(tmp_path, **call).equals(table)
    assert len(seen) == 6  # the rehearsal alone


def with_loss(encoder, inputs, targets):
    map = inputs.mean(1)
    loss = -torch.nn.functional.cosine_similarity(encoder(inputs).detach(), targets)
    return Attribution(map=map, unit="none", signed=True, trace={"loss": loss[None]}, cost=NONE)


def test_mismatch_auc_through_evaluate(tmp_path, conse):
    own = pairs(9)[:]
    both = [*own, *xu.data.mismatched(own, seed=0)]
    assert len({s.id for s in both}) == 18
    methods, call = {"m": with_loss, "none": noted}, dict(model=conse, target="caption")
    table = run(tmp_path, methods=methods, dataset=both, metrics=[mismatch_auc], **call)
    assert len(table) == 2
    assert 0.5 < table.value[0] <= 1
    assert "no loss" in table.error[1]
    c = xu.cases(conse, both)
    assert c.matched.sum() == 9
    assert len(set(c.clusters)) == 9


def test_a_missing_map_is_said_where_the_set_is_judged(tmp_path, conse):
    call = dict(model=conse, dataset=pairs(9), target="caption", metrics=[zero_shot_roar])
    table = run(tmp_path, methods={"m": fails_on_dark}, **call)
    assert len(table) == 1
    assert "maps are missing, the first with RuntimeError: too dark" in table.error[0]


def fails_on_dark(encoder, inputs, targets):
    if (inputs.mean((1, 2, 3)) < -0.4).any():
        raise RuntimeError("too dark")
    return noted(encoder, inputs, targets)


# The tidy core without shards


def test_cases_know_their_pictures_masks_and_match(conse):
    photos = xu.load_dataset("photos")[:3]
    c = xu.cases(conse, photos, target="things")
    assert c.names[:3] == ["chelsea/0", "coffee/0", "coffee/1"]
    assert c.clusters[:3] == ["chelsea", "coffee", "coffee"]
    assert c.masks.shape == (len(c), 224, 224)
    assert not c.others[0].any()  # chelsea is alone
    assert (c.others[1] == photos[1].masks((224, 224))[1]).all()
    whole = torch.nn.functional.cosine_similarity(conse.image(c.inputs), c.targets)
    assert torch.allclose(c.match, whole.detach(), atol=1e-5)
    two = c.take([2, 0])
    assert two.names == ["coffee/1", "chelsea/0"]
    assert torch.equal(two.embeddings, c.embeddings[[2, 0]])
    caption = xu.cases(conse, photos)
    assert (caption.masks[1] == photos[1].masks((224, 224)).any(0)).all()
    assert caption.others is None
    text = xu.cases(conse, photos, modality="text")
    assert text.inputs == [s.caption for s in photos]
    assert torch.allclose(text.match, caption.match, atol=1e-5)


class Counting(nn.Module):
    """The colour encoder, counting the rows that pass."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return colour(x)


def test_the_confidence_pair_of_k_methods_costs_k_plus_one_passes(tmp_path):
    from xai_utils.metrics import confidence_increase

    net = Counting()
    model = encoder(lambda x: net(x))
    maps = {f"m{k}": partial(noted, power=float(k)) for k in (1, 2, 3)}
    target = torch.ones(1, 6)
    c = replace(xu.cases(model, samples(1), target="self"), targets=target)
    net.rows.clear()
    xu.score(xu.explain(maps, c), c, [confidence_drop, confidence_increase])
    assert sum(net.rows) == 4
    net.rows.clear()
    run(tmp_path, methods=maps, model=model, dataset=samples(5))
    plain = sum(net.rows)
    net.rows.clear()
    both = [confidence_drop, confidence_increase]
    run(tmp_path / "b", methods=maps, model=model, dataset=samples(5), metrics=both)
    assert sum(net.rows) - plain == 5 * 4


def test_the_untouched_match_may_be_given(conse):
    c = xu.cases(conse, xu.load_dataset("photos")[:2])
    map = random_map(c.encoder, c.inputs, c.targets).map
    one = confidence_drop(c.encoder, c.inputs, c.targets, map)
    two = confidence_drop(c.encoder, c.inputs, c.targets, map, whole=c.embeddings)
    assert torch.allclose(one, two, atol=1e-3)


def test_score_takes_maps_of_ones_own_and_refuses_wrong_ones(conse):
    c = xu.cases(conse, xu.load_dataset("photos")[:2])
    table = xu.score({"exact": c.masks.float()}, c, [iou])
    assert (table.value == 1).all()
    with pytest.raises(ValueError, match=r"maps\['x'\] must have shape"):
        xu.score({"x": torch.zeros(2, 7, 7)}, c, [iou])
    with pytest.raises(ValueError, match="holds NaN"):
        xu.score({"x": c.masks.float() * float("nan")}, c, [iou])
    with pytest.raises(TypeError, match="must return an Attribution"):
        xu.explain({"x": lambda encoder, inputs, targets: c.masks}, c)


def test_aha_is_judged_like_every_method(tmp_path, classifier):
    from xai_utils.methods import aha, load_explainer
    from xai_utils.metrics import map_total_variation

    explainer = load_explainer("efficientnet-lite0", device="cpu")
    call = dict(model=classifier, dataset=pairs(2), target="predicted")
    methods = {"aha": partial(aha, explainer=explainer)}
    table = run(tmp_path, methods=methods, metrics=[map_total_variation], **call)
    assert table.value.notna().all()
    assert (table.forwards == 1).all()
    with pytest.raises(ValueError, match="'aha'.*refine must be"):
        run(tmp_path, methods={"aha": partial(aha, explainer=explainer, refine=-1)}, **call)


def test_descriptions_of_what_a_function_may_use():
    one, two = pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})
    assert describe(one) != describe(two)
    assert describe(np.mean) != describe(np.median)
    assert describe({1, 2, 3}) == describe({3, 2, 1})
    assert describe(nn.Sequential(nn.ReLU())) != describe(nn.Sequential(nn.GELU()))
    net, same = Net(), Net()
    assert describe(net) == describe(same)
    same.act.slope = 0.1
    assert describe(net) != describe(same)
    cell = dict(generator=np.random.default_rng(0), __name__="__main__")
    exec("def draws(encoder, inputs, targets):\n    return generator.normal()\n", cell)
    with pytest.raises(TypeError, match="draws uses generator"):
        describe(cell["draws"])
    assert describe(recursive) == describe(recursive)


def recursive(n):
    return n and recursive(n - 1)


def test_values_of_ones_own_become_rows(conse):
    c = xu.cases(conse, xu.load_dataset("photos")[:2])
    table = tabulate({"mine": {"area": torch.tensor([1.0, 2.0])}}, c)
    assert table.value.tolist() == [1, 2]
    assert table["sample"].tolist() == c.names
    with pytest.raises(ValueError, match=r"values\['mine'\]\['area'\] must hold 2 values"):
        tabulate({"mine": {"area": torch.ones(3)}}, c)


@pytest.mark.parametrize("target", ["self", "predicted", "label", "caption", "things"])
def test_evaluate_and_score_give_one_table(tmp_path, conse, classifier, target):
    photos = [s for s in xu.load_dataset("photos", n=9) if s.label is not None][:2]
    model = conse if target in ("caption", "things") else classifier
    metrics = [map_area, iou]
    told = run(tmp_path, model=model, dataset=photos, metrics=metrics, target=target)
    c = xu.cases(model, photos, target=target)
    scored = xu.score(xu.explain({"noted": noted}, c), c, metrics)
    pd.testing.assert_frame_equal(told, scored)
