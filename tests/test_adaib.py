"""AdaIB: the word-for-word oracle, M2IB as a special case, the fall of a learned g, and pairs that
do not match."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from planted import CELL, cells, patch_cnn, two_patches
from reference.adaib_loop import adaib_loop

from xai_utils.data import Sample, load_dataset
from xai_utils.data.pairs import derangement, graded_thirds, mismatched, thirds
from xai_utils.methods import adaib, m2ib
from xai_utils.methods.adaib import DISTANCES, NETWORKS

TEXTS = ["a red car", "two small green apples on a table"]


def case(model, which):
    """(encoder, two inputs, targets)."""
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    if which == "image":
        return model.image, x, model.encode_text(TEXTS)
    return model.text, TEXTS, model.encode_image(x)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def against_the_loop(encoder, inputs, targets, tolerance=1e-5, **options):
    split = encoder.split(encoder.depth - 2)
    with torch.no_grad():
        z = split.prefix(inputs)
    a = adaib(encoder, inputs, targets, layer=encoder.depth - 2, **options)
    with torch.random.fork_rng():
        kl, trace = adaib_loop(
            lambda t: split.suffix(t, like=z), z.detach(), targets[0], lr=1.0, **options
        )
    assert (
        relative(
            a.map,
            split.to_map(kl.sum(split.channel_dim if split.channel_dim < 0 else 0)[None], like=z),
        )
        < tolerance
    )
    for name, values in zip(("loss", "fit", "kl", "f", "g"), zip(*trace)):
        assert torch.allclose(
            a.trace[name][:, 0], torch.tensor(values), rtol=tolerance, atol=tolerance
        ), name
    return a


CHOICES = [(f, "closed") for f in [*DISTANCES, "cosine", 0.7]] + [
    ("inverse-l2", g) for g in ["scaled", *NETWORKS, 0.2]
]


@pytest.mark.parametrize(("f", "g"), CHOICES, ids=str)
def test_every_f_and_g_is_the_literal_loop(conse, f, g):
    for which in ("image", "text"):
        encoder, inputs, h = case(conse, which)
        options = dict(steps=3, copies=1, noise=False, seed=3, normalise=which == "text")
        against_the_loop(
            encoder, inputs[:1], 1.5 * h[:1], f=f, g=g, **options
        )  # 1.5: lengths count, or do not


@pytest.mark.parametrize("clip", [0.01, None])
def test_with_noise_and_other_settings_too(conse, clip):
    options = dict(steps=3, copies=2, noise=True, seed=3, sigma=0.8, clip=clip)
    encoder, inputs, h = case(conse, "text")
    for pair in (dict(f="cosine", g="mlp", tau=2.0), dict(f="inverse-l2", g="scaled", beta=0.3)):
        against_the_loop(encoder, inputs[:1], h[:1], tolerance=2e-2, **options, **pair)


@pytest.mark.parametrize("which", ["image", "text"])
def test_constant_f_and_g_are_m2ib(conse, which):
    """Proposition 1, bit for bit."""
    encoder, inputs, h = case(conse, which)
    a, b = (
        adaib(encoder, inputs, h, f=1, g=0.1, steps=4, copies=3),
        m2ib(encoder, inputs, h, beta=0.1, steps=4, copies=3),
    )
    assert torch.equal(a.map.nan_to_num(), b.map.nan_to_num())
    assert all(torch.equal(a.trace[name], b.trace[name]) for name in b.trace)
    assert (a.tokens, a.unit, a.signed) == (b.tokens, "nats", False)
    other = m2ib(encoder, inputs, h, beta=0.11, steps=4, copies=3)
    assert not torch.equal(a.trace["loss"], other.trace["loss"])


def test_only_the_ratio_of_constants_counts_while_nothing_is_clipped(conse):
    encoder, inputs, h = case(conse, "text")
    one, two = (adaib(encoder, inputs, h, f=f, g=0.1 * f, steps=4, noise=False) for f in (1.0, 3.0))
    assert relative(one.map.nan_to_num(), two.map.nan_to_num()) < 1e-3


@pytest.mark.parametrize("which", ["image", "text"])
def test_a_learned_g_is_each_pairs_own(conse, which):
    encoder, inputs, h = case(conse, which)
    options = dict(steps=3, copies=3, g="mlp")
    both = adaib(encoder, inputs, h, **options)
    for i in range(2):
        alone = adaib(encoder, inputs[i : i + 1], h[i : i + 1], **options)
        n = alone.map.shape[1]
        assert relative(both.map[i : i + 1, :n], alone.map) < 1e-3
        for name, values in alone.trace.items():
            assert torch.allclose(both.trace[name][:, i], values[:, 0], rtol=1e-3, atol=1e-5), name
    parts = adaib(encoder, inputs, h, **options, chunk=1)
    assert relative(parts.map.nan_to_num(), both.map.nan_to_num()) < 0.05
    state = torch.get_rng_state()
    again, other = (adaib(encoder, inputs, h, **options, seed=seed).trace["g"] for seed in (0, 1))
    assert torch.equal(again, both.trace["g"])
    assert not torch.equal(again[0], other[0])  # fresh weights from the seed
    assert torch.equal(state, torch.get_rng_state())


def test_the_trace_and_the_cost(conse):
    encoder, inputs, h = case(conse, "image")
    for options in (dict(), dict(g="mlp"), dict(f="cosine", g=0.3)):
        a = adaib(encoder, inputs, h, steps=3, copies=2, **options)
        assert set(a.trace) == {"loss", "fit", "kl", "gate", "f", "g", "beta_eff"}
        assert all(values.shape == (3, 2) for values in a.trace.values())
        t = a.trace
        assert torch.allclose(t["beta_eff"], t["g"] / t["f"])
        assert torch.allclose(t["loss"], t["g"] * t["kl"] - t["f"] * t["fit"], atol=1e-5)
        assert torch.equal(t["f"][0], t["f"][-1])
        assert a.cost == dict(forwards=8, backwards=6)
    assert adaib(encoder, inputs, h, f=1.0, steps=3, copies=2).cost == dict(forwards=7, backwards=6)
    assert a.map.shape == (2, 224, 224)
    assert (a.map >= 0).all()


def test_f_grows_with_relevance_and_normalise_takes_lengths_out(conse):
    encoder, x, h = case(conse, "image")
    with torch.no_grad():
        e = encoder(x)
    for f in (*DISTANCES, "cosine"):
        near, far = (
            adaib(encoder, x, t, f=f, steps=1, copies=1, normalise=False).trace
            for t in (0.5 * e + 0.5 * h, h)
        )
        assert (near["f"] > far["f"]).all(), f
        assert (near["beta_eff"] < far["beta_eff"]).all(), f
    cases = ((1, True), (7, True), (7, False))
    one, long, raw = (
        adaib(encoder, x, k * h, normalise=n, steps=1, copies=1).trace for k, n in cases
    )
    assert torch.allclose(one["f"], long["f"])
    assert torch.allclose(one["f"][0], 1 / (e - F.normalize(h, dim=1)).norm(dim=1))
    assert torch.allclose(raw["f"][0], 1 / (e - 7 * h).norm(dim=1))
    closed = adaib(encoder, x, h, g="closed", steps=1, copies=1).trace
    assert torch.allclose(closed["g"], 1 / one["f"])
    assert torch.allclose(one["g"], 0.1 * closed["g"])


@pytest.mark.parametrize("f", ["inverse-l2", "cosine"])
def test_a_planted_cell_is_found_with_a_closed_g(f):
    encoder, x = patch_cnn(), two_patches()
    h = encoder(x) + torch.tensor([[3.0, 3, 3, 0, 0, 0]])
    a = adaib(encoder, x, h, layer=1, steps=30, f=f, g="closed")
    assert cells(a.map).argmax(1).tolist() == [CELL] * 2


def test_a_learned_g_falls_to_its_floor_at_once(conse):
    """A5: the loss falls with g, the faster the more the gate lets through, and nothing holds g
    up."""
    for which in ("image", "text"):
        encoder, inputs, h = case(conse, which)
        a = adaib(encoder, inputs, h, g="mlp", copies=1, noise=False)
        g = a.trace["g"]  # (10, 2)
        assert (g[0] > 0.1).all()
        assert (g[1] < 1e-2 * g[0]).all()
        assert (g[2:] < 1.1e-6).all()  # eps_g is 1e-6
        kept = adaib(
            encoder, inputs, h, g=g[0, 0].item(), copies=1, noise=False
        )  # the g it started from
        assert (a.trace["kl"][-1] > 2 * kept.trace["kl"][-1]).all()
        slow = adaib(encoder, inputs, h, g="linear", copies=1, noise=False).trace["g"]
        assert (slow[1:] < slow[:-1]).all()
        assert (slow[-1] < 1e-3 * slow[0]).all()
        default = adaib(encoder, inputs, h, copies=1, noise=False).trace["g"]
        assert torch.equal(default[0], default[-1])


def test_signature_is_the_papers_setting():
    d = {k: p.default for k, p in inspect.signature(adaib).parameters.items()}
    assert (d["f"], d["clip"], d["sigma"]) == ("inverse-l2", 1.0, 1.0)
    assert (d["steps"], d["lr"], d["copies"], d["seed"]) == (10, 1.0, 10, 0)
    assert {name: hidden for name, (hidden, _) in NETWORKS.items()} == {  # Table 7, rows 1 to 6
        "linear": (),
        "mlp": (32,),
        "8-8-relu": (8, 8),
        "64-64-relu": (64, 64),
        "32-32-identity": (32, 32),
        "32-32-tanh": (32, 32),
    }


@pytest.mark.parametrize("n", [2, 3, 50])
def test_a_derangement_moves_everyone(n):
    for seed in range(20):
        p = derangement(n, seed)
        assert sorted(p) == list(range(n))
        assert (p != np.arange(n)).all()
        assert np.array_equal(p, derangement(n, seed))
    assert n == 2 or any((derangement(n, 0) != derangement(n, seed)).any() for seed in range(1, 20))


def test_no_caption_comes_back_through_a_twin():
    names = (
        [{"a cat"}] * 10 + [{"a dog"}] * 6 + [{"a cow", "a pig"}] * 4
    )  # cats can only go to the other half
    for seed in range(10):
        p = derangement(20, seed, names)
        assert sorted(p) == list(range(20))
        assert all(not names[i] & names[j] for i, j in enumerate(p))
    chain = [{"a", "b"}, {"b", "c"}, {"c", "d"}, {"d", "a"}]
    assert derangement(4, 0, chain).tolist() == [2, 3, 0, 1]
    with pytest.raises(ValueError, match="cannot be swapped"):
        derangement(3, 0, [{"a cat"}, {"a cat"}, {"a dog"}])
    for wrong in (
        dict(n=1, seed=0),
        dict(n=3, seed=-1),
        dict(n=2, seed=0, names=["a", "b"]),
        dict(n=3, seed=0, names=[{"a"}]),
    ):
        with pytest.raises(ValueError, match="must be"):
            derangement(**wrong)


def test_mismatched_photos_and_scenes_keep_their_pictures():
    photos = load_dataset("photos", n=9)
    swapped = mismatched(photos, seed=0)
    assert [s.source for s in swapped] == [s.id for s in photos]
    assert not any(s.matched for s in swapped)
    assert len({s.id for s in (*photos, *swapped)}) == 18
    assert sorted(s.caption for s in swapped) == sorted(s.caption for s in photos)
    assert all(a.caption != b.caption and not b.things for a, b in zip(photos, swapped))
    assert np.array_equal(np.array(photos[2].image), np.array(swapped[2].image))


def test_mismatched_captions_are_of_another_picture_and_unjudged():
    grey = np.full((8, 8, 3), 128, np.uint8)
    own = {k: tuple(f"caption {i} of {k}" for i in range(2)) for k in ("a", "b", "c")}
    pairs = [
        Sample(f"{k}#{i}", grey, text, source=k, captions=own[k], judgements=(4.0, 3.0))
        for k in own
        for i, text in enumerate(own[k])
    ]
    for seed in range(5):
        for before, after in zip(pairs, mismatched(pairs, seed)):
            assert after.caption not in own[before.source]
            assert after.source == before.source and after.captions == before.captions
            assert after.judgements == () and after.grade is None


def test_mismatched_scenes_name_nothing_that_is_there(stamps):
    scenes = load_dataset("scenes", split="train", n=12)
    for own, other in zip(scenes, mismatched(scenes, seed=1)):
        assert not any(t.caption in other.caption for t in own.things)


def test_thirds():
    assert thirds([0.3, 0.1, 0.2]).tolist() == ["clean", "noisy", "borderline"]
    labels = thirds(torch.linspace(1, 0, 10))
    assert [(labels == name).sum() for name in ("noisy", "borderline", "clean")] == [4, 3, 3]
    assert labels[0] == "clean"
    assert thirds([0.5, 0.5, 0.5]).tolist() == ["noisy", "borderline", "clean"]
    for wrong in ([0.1, 0.2], [0.1, float("nan"), 0.2], np.zeros((3, 3))):
        with pytest.raises(ValueError, match="at least 3 finite numbers"):
            thirds(wrong)


def test_thirds_of_a_scale_never_part_equal_grades():
    grades = [1, 1, 1, 4 / 3, 5 / 3, (1 + 2 + 3) / 3, 7 / 3, 8 / 3, (2 + 3 + 4) / 3, 11 / 3, 4]
    found = graded_thirds(grades, (1, 4)).tolist()
    assert found == ["noisy"] * 5 + ["borderline"] * 3 + ["clean"] * 3
    assert graded_thirds([0, 1], (0, 1)).tolist() == ["noisy", "clean"]
    near = [0.1 + 0.2, 0.3, 0.6, 0.7 - 0.1]  # of one grade each two, but for rounding
    assert graded_thirds(near, (0, 0.9)).tolist() == ["borderline"] * 2 + ["clean"] * 2
    for wrong in ([0.5], [float("nan")], [[1, 2]], [5]):
        with pytest.raises(ValueError, match="grades must be a list of numbers from 1 to 4"):
            graded_thirds(wrong, (1, 4))
    with pytest.raises(ValueError, match="highest grade of scale"):
        graded_thirds([1], (4, 1))
