"""AHA: the soft sort against a literal loop, a solver and the hard sort; the training and the
refinement on a planted model."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from planted import SIDE, red_model, with_red_patch
from reference.sinkhorn_loop import sinkhorn

import xai_utils as xu
from xai_utils.methods import aha, load_explainer, random_map, train_explainer
from xai_utils.methods.aha import ranking_loss
from xai_utils.methods.explainers import Explainer, standard
from xai_utils.methods.soft_sort import levels, soft_sort, soft_topk
from xai_utils.metrics import deletion_auc, insertion_auc


def scores(n, seed=0, b=2):
    return torch.randn(b, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sizes", [[1] * 12, [3, 4, 5], [2, 10]])
def test_soft_sort_is_the_literal_loop(sizes):
    a, noise = standard(scores(12)), torch.rand(2, len(sizes), 12, dtype=torch.float64)
    for extra in (None, noise):
        ours = soft_sort(a, torch.tensor(sizes), tau=0.3, iterations=7, noise=extra)
        for i in range(2):
            literal = sinkhorn(
                a[i].tolist(), sizes, 0.3, 7, None if extra is None else extra[i].tolist()
            )
            assert torch.allclose(ours[i], torch.tensor(literal, dtype=torch.float64), atol=1e-12)


def test_converged_it_is_the_optimal_transport_plan():
    a, sizes = standard(scores(20, b=1)), [2, 6, 7, 5]
    ends = np.cumsum(sizes)
    rho = 1 - (2 * ends - np.array(sizes)) / 20
    plan = ot.sinkhorn(
        np.array(sizes, float),
        np.ones(20),
        -np.outer(rho, a[0].numpy()),
        reg=0.2,
        method="sinkhorn_log",
        stopThr=1e-13,
        numItermax=5000,
    )
    ours = soft_sort(a, torch.tensor(sizes), tau=0.2, iterations=500)[0]
    assert torch.allclose(ours, torch.from_numpy(plan), atol=1e-8)


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(order=st.permutations(range(12)), groups=st.sampled_from([[1] * 12, [3, 3, 6], [5, 7]]))
def test_it_tends_to_the_hard_sort_as_the_temperature_falls(order, groups):
    a = standard(torch.tensor([order], dtype=torch.float64))
    ends = torch.tensor(groups).cumsum(0)
    rank = (-a).argsort(1).argsort(1)  # (1, 12)
    hard = (
        (rank[:, None] < ends[:, None])
        .double()
        .diff(dim=1, prepend=torch.zeros(1, 1, 12, dtype=torch.float64))
    )
    errors = [
        float((soft_sort(a, torch.tensor(groups), tau=tau, iterations=200) - hard).abs().max())
        for tau in (1, 0.1, 0.01, 0.002)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < errors[0]


def test_masks_hold_k_cells_and_grow_with_k():
    m = soft_topk(standard(scores(100)), levels(100, 5), tau=0.05, iterations=500)
    assert torch.allclose(m.sum(2), levels(100, 5).double().expand(2, 5), atol=1e-2)
    assert m.min() >= 0 and m.max() <= 1 and (m.diff(dim=1) >= -1e-12).all()


def test_gradients_are_those_of_finite_differences():
    a = standard(scores(9)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: soft_topk(s, levels(9, 3), tau=0.3, iterations=10), a)
    assert torch.autograd.gradcheck(
        lambda s: soft_topk(s, levels(9, 3), tau=0.3, iterations=10, noise=1.0, seed=3), a
    )


# --- on a model that looks for one red patch, wherever it is


@pytest.fixture(scope="module")
def red():
    return red_model()


SIZE = dict(grid=8, s=3, steps=150, batch=8, lr=5e-3, seed=0)


@pytest.fixture(scope="module")
def explainer(red, tmp_path_factory):
    return train_explainer(
        red, with_red_patch(64, 0)[0], out=tmp_path_factory.mktemp("aha"), **SIZE
    )


@pytest.mark.slow
def test_the_trained_explainer_ranks_the_planted_patch_first(red, explainer):
    x, masks = with_red_patch(12, 1)
    x, classes = x.float() / 255, torch.ones(12, dtype=torch.long)
    a = aha(red, x, classes, explainer=explainer)
    assert (
        a.map.shape == (12, SIDE, SIDE) and a.cost == dict(forwards=1, backwards=0) and not a.trace
    )
    inside = torch.stack([m[k].mean() - m[~k].mean() for m, k in zip(a.map, masks)])
    highest = torch.stack([k.flatten()[m.argmax()] for m, k in zip(a.map, masks)])
    assert (inside > 1).all() and highest.float().mean() > 0.9
    untrained = aha(red, x, classes, explainer=Explainer(red, grid=8).eval()).map
    assert (untrained.flatten(1).std(1) < 1e-3).all()
    noise = random_map(red, x, classes).map
    assert (deletion_auc(red, x, classes, a.map) < deletion_auc(red, x, classes, noise)).all()
    assert (insertion_auc(red, x, classes, a.map) > insertion_auc(red, x, classes, noise)).all()


def test_refinement_lowers_the_soft_loss_from_any_start(red):
    explainer = Explainer(red, grid=8).eval()  # untrained
    x, masks = with_red_patch(4, 2)
    a = aha(
        red, x.float() / 255, torch.ones(4, dtype=torch.long), explainer=explainer, refine=6, s=3
    )
    assert a.trace["loss"].shape == (6, 4) and a.trace["scores"].shape == (7, 4, 8, 8)
    assert (a.trace["loss"][-1] < a.trace["loss"][0] - 0.05).all()
    assert a.cost == dict(forwards=1 + 6 * 6 * 3, backwards=6 * 6 * 3)


def test_the_loss_has_the_gradient_of_finite_differences():
    red = red_model()
    x, other = (
        with_red_patch(2, 4)[0].double() / 255,
        torch.zeros(2, 3, SIDE, SIDE, dtype=torch.float64),
    )
    red.head.double()
    m, classes = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.tensor([1, 0])
    loss, gradient = ranking_loss(red, x, classes, m, other, chunk=2)
    for place in ((0, 1, 2, 3), (1, 2, 5, 5), (0, 0, 7, 0)):
        moved = m.clone()
        moved[place] += 1e-6
        slope = (ranking_loss(red, x, classes, moved, other, chunk=64)[0] - loss)[place[0]] / 1e-6
        assert float(slope) == pytest.approx(float(gradient[place]), abs=1e-5)


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on(red, tmp_path, monkeypatch):
    x, calls = with_red_patch(16, 0)[0], []
    size = SIZE | dict(steps=130, batch=2)
    straight = train_explainer(red, x, out=tmp_path / "straight", **size)

    def stops(*args):
        calls.append(1)
        if len(calls) == 120:
            raise KeyboardInterrupt
        return ranking_loss(*args)

    monkeypatch.setitem(train_explainer.__globals__, "ranking_loss", stops)
    with pytest.raises(KeyboardInterrupt):
        train_explainer(red, x, out=tmp_path / "stopped", **size)
    resumed = train_explainer(red, x, out=tmp_path / "stopped", **size)
    assert len(calls) == 120 + 30
    for a, b in zip(straight.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


def test_bad_input(explainer, red, conse):
    x = with_red_patch(2, 0)[0].float() / 255
    with pytest.raises(ValueError, match=r"takes images of \(32, 32\)"):
        aha(conse.image, torch.rand(1, 3, 224, 224), torch.rand(1, 384), explainer=explainer)
    with pytest.raises(
        ValueError, match="with blocks and a classifier head, got conse-lite0 image"
    ):
        train_explainer(conse.image, torch.zeros(8, 3, 224, 224, dtype=torch.uint8), out="nowhere")
    with pytest.raises(ValueError, match="pictures must be uint8"):
        train_explainer(red, x, out="nowhere")
    with pytest.raises(ValueError, match="no explainer named 'resnet50': one of "):
        load_explainer("resnet50")
    with pytest.raises(ValueError, match="sum to the 4 cells"):
        soft_sort(torch.rand(1, 4), torch.tensor([1, 2]), tau=1)


@pytest.mark.parametrize("name", ["vit-photos", "efficientnet-lite0"])
def test_the_shipped_explainers_draw_a_map_for_each_class(name):
    explainer = load_explainer(name)
    encoder = explainer.backbone
    x = torch.stack([encoder.transform(s.image) for s in xu.load_dataset("photos")[:2]])
    with torch.no_grad():
        first, second = encoder.head(encoder(x)).topk(2).indices.T
    a, b = (aha(encoder, x, c, explainer=explainer) for c in (first, second))
    assert a.map.shape == (2, *encoder.image_size)
    assert (
        torch.allclose(a.map.mean((1, 2)), torch.zeros(2), atol=0.05)
        and (a.map.flatten(1).std(1) > 0.5).all()
    )
    assert not torch.allclose(a.map, b.map, atol=0.05)
    assert not torch.allclose(a.map[0], a.map[1], atol=0.5)
