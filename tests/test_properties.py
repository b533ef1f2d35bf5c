"""NIB's Table 1 run on planted methods, equal networks, features taken away, MFABA's sum."""

from dataclasses import replace
from functools import partial

import planted
import pytest
import torch
import torch.nn.functional as F

import xai_utils as xu
from xai_utils.methods import mfaba, nib, random_map
from xai_utils.metrics import match_without, properties, removal_map, rewritten, sign_descent
from xai_utils.metrics.properties import CLOSED, CRITERIA
from xai_utils.types import Attribution

TEXTS = ["a red car", "two small green apples on a table"]
quick = partial(nib, steps=2)


@pytest.fixture(scope="module")
def tower():
    return xu.load_model("vit-photos", device="cpu")


def pictures(model, seed=1):
    size = model.image.image_size
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def leaky(encoder, inputs, targets):
    return quick(encoder, inputs, targets.mean(0, keepdim=True).expand_as(targets))


def stubborn(encoder, inputs, targets):
    """Takes towers of tokens alone."""
    if encoder.depth and getattr(encoder, "tokens", 1) is None:
        raise ValueError("this encoder has no tokens")
    return quick(encoder, inputs, targets)


def dimmed(encoder, inputs, targets):
    """Never lets the encoder see the whole input."""
    if isinstance(inputs, list):
        return quick(encoder, inputs, targets)
    x = (0.5 * inputs).requires_grad_()
    g = torch.autograd.grad(F.cosine_similarity(encoder(x), targets).sum(), x)[0]
    return Attribution(map=g.sum(1), unit="", signed=True)


def restless(encoder, inputs, targets):
    """Changes a weight a little."""
    with torch.no_grad():
        for w in list(encoder.weights.values())[:1]:
            w.mul_(1 + 1e-5)
    return quick(encoder, inputs, targets)


def of_class(encoder, inputs, targets):
    if not isinstance(inputs, list) and encoder.head is None:
        raise ValueError(f"{encoder.name} has no classifier head")
    return quick(encoder, inputs, targets)


PLANTED = {
    "honest": (quick, {CLOSED}),
    "leaky": (leaky, {"no_extra_example", CLOSED}),
    "random": (random_map, {"no_randomness", "no_info_loss", "current_model"}),
    "stubborn": (stubborn, {"no_specific_structure", CLOSED}),
    "dimmed": (dimmed, {"no_info_loss"}),
    "restless": (restless, {"current_model", CLOSED}),
    "of a class": (of_class, {"no_downstream_task", CLOSED}),
}


OTHER = planted.patch_cnn(), planted.two_patches(1), torch.ones(1, 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_each_criterion_can_fail(tower, name):
    method, fails = PLANTED[name]
    model = replace(tower, image=replace(tower.image, head=torch.nn.Identity()))
    kept = {k: w.clone() for k, w in tower.text.weights.items()}
    try:
        found = properties(method, model, pictures(tower), TEXTS, other=OTHER)
    finally:
        for k, w in tower.text.weights.items():
            w.data.copy_(kept[k])
    assert tuple(found) == (*CRITERIA, CLOSED)
    assert {k for k, good in found.items() if not good} == fails


def test_one_pair_cannot_show_a_leak(tower):
    with pytest.raises(ValueError, match="two pairs"):
        properties(quick, tower, pictures(tower)[:1], TEXTS[:1], other=OTHER)


@pytest.mark.parametrize("which", ["image", "text"])
def test_rewritten_networks_are_equal(tower, which):
    encoder, x = getattr(tower, which), pictures(tower)
    inputs = x if which == "image" else TEXTS
    depth, three = encoder.depth, (lambda z: 3 * z, lambda z: z / 3)
    forms = [rewritten(encoder, layer, *three) for layer in (0, 2, depth)]
    forms += [rewritten(encoder, depth - 2, join=True)]
    with torch.no_grad():
        whole = encoder(inputs)
        for form in forms:
            assert torch.allclose(form(inputs), whole, atol=1e-4)
        assert torch.allclose(forms[0].split(0).prefix(inputs), 3 * encoder.split(0).prefix(inputs))
        assert not torch.allclose(rewritten(encoder, 2, three[0])(inputs), whole, atol=1e-2)
    assert [form.depth for form in forms] == [depth, depth, depth, depth - 1]
    with pytest.raises(ValueError, match="no two blocks"):
        rewritten(encoder, depth - 1, join=True)
    with pytest.raises(ValueError, match="layer must be"):
        rewritten(encoder, depth + 1)


def test_nibs_map_ignores_a_scale_but_not_a_shift(tower):
    """A shift by one vector; that of all channels alike would be taken off by the layer norms."""
    x, h = pictures(tower), tower.encode_text(TEXTS)
    away = torch.randn(tower.image.split(3).prefix(x).shape[-1])
    plain, scaled, shifted = (
        quick(form, x, h, layer=3).map
        for form in (
            tower.image,
            rewritten(tower.image, 3, lambda z: 4 * z, lambda z: z / 4),
            rewritten(tower.image, 3, lambda z: z + away, lambda z: z - away),
        )
    )
    assert torch.allclose(scaled, plain, atol=1e-5)
    assert (shifted - plain).abs().max() > 0.1 * plain.abs().max()


def test_taking_the_planted_cell_away_is_all_that_matters():
    encoder, x = planted.patch_cnn(), torch.full((2, 3, 32, 32), 2.0)
    h = torch.eye(2).repeat_interleave(3, 1)  # towards the cell's three channels, towards the ones
    places = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
    places[1].flatten(1)[:, planted.CELL] = True
    places[2] = ~places[1]
    s = match_without(encoder, x, h, places, layer=1)
    whole = torch.tensor([2.0, 1.0]) / 5**0.5
    assert torch.allclose(s, torch.stack([whole, torch.tensor([0.0, 1.0]), whole]))
    cells = planted.cells(removal_map(encoder, x, h, layer=1))
    assert cells.abs().argmax(1).tolist() == [planted.CELL] * 2
    assert cells[0, planted.CELL] > 0 > cells[1, planted.CELL]
    assert cells[:, [0, 4, 8, 12, 13, 14, 15]].abs().max() == 0
    with pytest.raises(ValueError, match=r"shape \(K, \*\(2, 4, 4\)\)"):
        match_without(encoder, x, h, places[:, :1], layer=1)


def test_removal_map_takes_tokens_one_by_one(tower):
    """Texts of two lengths, against the literal loop; cells of a CNN are in the test above."""
    h = tower.encode_image(pictures(tower))
    split = tower.text.split(3)
    with torch.no_grad():
        z = split.prefix(TEXTS)
        falls = torch.zeros(z.shape[:2])
        for k in range(z.shape[1]):
            less = z.clone()
            less[:, k] = 0
            whole, without = (split.suffix(v, like=z) for v in (z, less))
            falls[:, k] = F.cosine_similarity(whole, h) - F.cosine_similarity(without, h)
    map = removal_map(tower.text, TEXTS, h, layer=3)
    assert torch.allclose(map, split.to_map(falls, like=z), atol=1e-5, equal_nan=True)


def test_mfabas_sum_is_the_fall_for_small_steps(tower):
    x, h = pictures(tower), tower.encode_text(TEXTS)
    total, fall = sign_descent(tower.image, x, h, steps=4, rate=1e-4)
    assert torch.allclose(total, fall, rtol=0.05) and (total > 0).all()
    encoder, x = planted.patch_cnn(), torch.full((1, 3, 32, 32), 2.0)
    h = torch.eye(2)[:1].repeat_interleave(3, 1)
    total, fall = sign_descent(encoder, x, h)
    pixels = mfaba(encoder, x, h, layer=0).map  # 64 to a cell
    assert total.item() == pytest.approx(pixels.sum().item() / 64, rel=1e-3)
    assert fall.item() == pytest.approx(total.item(), rel=0.02)
    with pytest.raises(ValueError, match="rate must be"):
        sign_descent(encoder, x, h, rate=0)
