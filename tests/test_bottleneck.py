"""M2IB and NIB: word-for-word oracles, no dependence on the rest of the batch on real towers."""

import inspect
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.bottleneck_loop import m2ib_loop, nib_loop

import xai_utils as xu
from xai_utils.methods import m2ib, nib, nib_path
from xai_utils.methods.bottleneck import compressed, information
from xai_utils.methods.nib import Path
from xai_utils.metrics import completeness_gap

TEXTS = ["a red car", "two small green apples on a table"]


@pytest.fixture(scope="module")
def clip():
    return xu.load_model("open_clip/ViT-B-32", device="cpu")


@pytest.fixture(scope="module")
def vit():
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10, depth=12)
    return xu.wrap(model)


def case(model, which):
    """(encoder, one input, target, layer)."""
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    if which == "image":
        return model.image, x, model.encode_text(TEXTS[:1]), model.image.depth - 3
    return model.text, TEXTS[1:], model.encode_image(x), model.text.depth - 3


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["image", "text"])
@pytest.mark.parametrize("noise", [False, True])
def test_m2ib_is_the_literal_loop_on_clip(clip, which, noise):
    encoder, inputs, h, layer = case(clip, which)
    split = encoder.split(layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    copies, steps = (2, 2) if noise else (1, 4)
    a = m2ib(encoder, inputs, h, layer=layer, steps=steps, copies=copies, noise=noise, seed=3)
    with torch.random.fork_rng():
        kl, trace = m2ib_loop(
            lambda t: split.suffix(t, like=z),
            z.detach(),
            h[0],
            beta=0.1,
            steps=steps,
            lr=1.0,
            copies=copies,
            noise=noise,
            seed=3,
        )
    wanted = split.to_map(kl.sum(1)[None], like=z)
    tolerance = (
        1e-5 if not noise else 2e-2
    )  # Adam at rate 1 turns rounding of 1e-7 into steps where a gradient is near 0
    assert relative(a.map, wanted) < tolerance
    for name, values in zip(("loss", "fit", "kl", "gate"), zip(*trace)):
        assert torch.allclose(a.trace[name][:, 0], torch.tensor(values), rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize("which", ["image", "text"])
def test_nib_is_the_literal_loop(clip, conse, which):
    for model in (clip, conse):
        encoder, inputs, h, layer = case(model, which)
        split = encoder.split(layer)
        with torch.no_grad():
            z = split.prefix(inputs)
        scores = nib_loop(lambda t: split.suffix(t, like=z), z.detach(), h[0], steps=5)
        a = nib(encoder, inputs, h, layer=layer, steps=5)
        wanted = split.to_map(scores.sum(-1 if split.channel_dim == -1 else 0)[None], like=z)
        assert relative(a.map, wanted) < 1e-5


@pytest.mark.slow
def test_nib_adds_up_better_with_more_steps(clip, conse):
    """On conse-lite0. A tower of layer norms hardly changes with the scale of z: there S jumps at 0
    and the sum misses it."""
    for model, which in ((conse, "text"), (conse, "image"), (clip, "image")):
        encoder, inputs, h, layer = case(model, which)
        if model is conse:
            gaps = [
                nib(encoder, inputs, h, layer=layer, steps=n).trace["gap"].abs().item()
                for n in (10, 320)
            ]
            assert gaps[1] < 0.25 * gaps[0]
        a = nib(encoder, inputs, h, layer=layer, steps=40)
        change = a.trace["similarity"][-1] - a.trace["similarity"][0]
        assert a.trace["similarity"].shape == (41, 1)
        with torch.no_grad():
            assert torch.allclose(
                a.trace["similarity"][-1], F.cosine_similarity(encoder(inputs), h), atol=1e-5
            )
        # the same gap through the metric, from scores that are the change itself and its error
        z = encoder.split(layer).prefix(inputs)
        scores = torch.zeros(z.shape[0], z.shape[1])
        scores[0, 0] = change + a.trace["gap"][0]
        wanted = (a.trace["gap"][0] / change).abs()
        assert torch.allclose(
            completeness_gap(encoder, inputs, h, scores, layer=layer), wanted, rtol=1e-2, atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", [m2ib, nib])
def test_a_map_does_not_depend_on_the_rest_of_the_batch_of_a_real_tower(conse, clip, method):
    options = dict(steps=3) | (dict(copies=3, noise=True) if method is m2ib else {})
    for model in (conse, clip):
        h = F.normalize(
            torch.randn(
                2, 384 if model is conse else 512, generator=torch.Generator().manual_seed(0)
            ),
            dim=1,
        )
        x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        both = method(model.image, x, h, **options).map
        for i in range(2):
            alone = method(model.image, x[i : i + 1], h[i : i + 1], **options).map
            assert relative(both[i : i + 1], alone) < 1e-4
        t = method(model.text, TEXTS, h, **options)
        assert [len(words) for words in t.tokens] == (~t.map.isnan()).sum(1).tolist()
        for i in range(2):
            alone = method(model.text, TEXTS[i : i + 1], h[i : i + 1], **options).map
            assert relative(t.map[i : i + 1, : alone.shape[1]], alone) < 1e-3


def test_seeds_copies_and_noise(conse):
    x, h = torch.randn(1, 3, 224, 224), conse.encode_text(["a cat"])
    maps = [m2ib(conse.image, x, h, seed=s, steps=3).map for s in (0, 1)]
    assert (maps[0] - maps[1]).abs().max() > 1e-3
    quiet = [m2ib(conse.image, x, h, seed=s, steps=3, noise=False) for s in (0, 1)]
    assert torch.equal(quiet[0].map, quiet[1].map)
    assert quiet[0].cost == dict(forwards=4, backwards=3)
    assert m2ib(conse.image, x, h, steps=3).cost == dict(forwards=31, backwards=30)


def test_beta_and_sigma_do_what_the_formula_says(clip):
    encoder, inputs, h, _ = case(clip, "text")
    energy = {
        b: m2ib(encoder, inputs, h, beta=b, noise=False).map.nan_to_num().sum().item()
        for b in (0.01, 0.1, 0.11, 10.0)
    }
    assert energy[0.01] > energy[10.0]
    assert abs(energy[0.1] - energy[0.11]) > 1e-3 * energy[0.1]
    default = m2ib(encoder, inputs, h, steps=3).map.nan_to_num()
    assert (
        default - m2ib(encoder, inputs, h, steps=3, sigma=0.3).map.nan_to_num()
    ).abs().max() > 1e-3


def test_gates_that_nothing_presses_shut_stay_finite(conse):
    h = conse.encode_image(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    free, held = (
        m2ib(conse.text, ["a cat and a spoon"], h, beta=b, noise=False, steps=40)
        for b in (0.0, 0.1)
    )
    assert free.map.isfinite().all() and all(v.isfinite().all() for v in free.trace.values())
    assert (free.map > held.map).all()
    assert information(torch.zeros(1), torch.ones(1), 1.0).item() == pytest.approx(
        25 * np.log(2) - 0.5
    )


def test_information_in_closed_form():
    z = torch.tensor([0.0, 1.0, -2.0])
    assert torch.allclose(
        information(z, torch.zeros(3), 1.0), torch.zeros(3)
    )  # only noise: nothing passes
    p, q = torch.distributions.Normal(0.7 * z, 0.3 * 2.0), torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(
        information(z, torch.full((3,), 0.7), 2.0),
        torch.distributions.kl_divergence(p, q),
        atol=1e-6,
    )
    assert torch.allclose(compressed(z, torch.ones(3), torch.randn(3), 1.0), z)


@pytest.mark.parametrize("layer", [3, None])
def test_vits_show_pixels_and_defaults_are_the_papers(vit, layer):
    x, h = torch.randn(2, 3, 64, 64), torch.randn(2, 192)
    for method in (m2ib, nib):
        a = method(vit, x, h, layer=layer, steps=2)
        assert a.map.shape == (2, 64, 64)
        assert a.map.std() > 0
    assert torch.equal(nib(vit, x, h, steps=2).map, nib(vit, x, h, layer=9, steps=2).map)
    assert torch.equal(m2ib(vit, x, h, steps=2).map, m2ib(vit, x, h, layer=10, steps=2).map)


def test_signatures_are_the_papers_settings():
    d = {k: p.default for k, p in inspect.signature(m2ib).parameters.items()}
    assert (d["beta"], d["sigma"], d["steps"], d["lr"], d["copies"], d["seed"]) == (
        0.1,
        1.0,
        10,
        1.0,
        10,
        0,
    )
    assert inspect.signature(nib).parameters["steps"].default == 10


@pytest.mark.parametrize("which", ["image", "text"])
def test_the_path_holds_the_maps_of_all_its_counts(conse, which):
    """Against `nib` itself, with a padded text in the batch."""
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    h = conse.encode_text(TEXTS)
    encoder, inputs = (conse.image, x) if which == "image" else (conse.text, TEXTS)
    h = h if which == "image" else conse.encode_image(x)
    path = nib_path(encoder, inputs, h, counts=(4, 3))
    assert [float(t) for t in path.nodes] == pytest.approx(
        [0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1]
    )
    for n in (1, 2, 3, 4):
        a = nib(encoder, inputs, h, steps=n)
        there = ~a.map.isnan()
        assert torch.equal(there, ~path.map(n).isnan())
        assert relative(path.map(n)[there], a.map[there]) < 1e-5
        change = a.trace["similarity"][-1] - a.trace["similarity"][0]
        assert torch.allclose(path.change, change)
        assert torch.allclose(path.relative_gap(n), (a.trace["gap"][0] / change).abs(), rtol=1e-3)
    assert torch.equal(path.scores(1, midpoints=True), path.slopes[3])
    assert torch.equal(path.scores(2, midpoints=True), path.slopes[[1, 5]].mean(0))
    with pytest.raises(ValueError, match="n=5 needs 4 nodes"):
        path.scores(5)
    with pytest.raises(ValueError, match="counts must be"):
        nib_path(encoder, inputs, h, counts=(0,))


def test_midpoints_integrate_a_straight_slope_exactly():
    """S = t^2 has the slope 2t: the right sum is 1 + 1/n, the sum at midpoints 1."""
    nodes = tuple(Fraction(k, 8) for k in range(9))
    t = torch.tensor([float(k) for k in nodes])[:, None]
    path = Path(nodes=nodes, similarity=t**2, slopes=2 * t[:, :, None], to_map=lambda s: s)
    assert [path.scores(n).item() for n in (1, 2, 4, 8)] == [2, 1.5, 1.25, 1.125]
    assert [path.scores(n, midpoints=True).item() for n in (1, 2, 4)] == [1, 1, 1]
    assert path.relative_gap(4).item() == 0.25
