import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import xai_utils as xu
from xai_utils.methods import centred_gaussian, ones_map, random_map
from xai_utils.metrics import (
    boundary_f,
    box_masks,
    confidence_drop,
    confidence_increase,
    deletion_drop,
    energy_in_mask,
    evenness,
    instance_recall,
    iou,
    localization_iou,
    map_area,
    map_entropy,
    map_total_variation,
    mask_contrast,
    mask_mean,
    mask_recall,
    min_max,
    miou,
    pointing_game,
    ssim,
    weaker_thing,
)
from xai_utils.papers import reference
from xai_utils.stats import auc

METRICS = [
    confidence_drop,
    confidence_increase,
    iou,
    pointing_game,
    mask_contrast,
    mask_mean,
    localization_iou,
    miou,
]
seeds = st.integers(0, 2**31)


def mean_colour():
    return xu.wrap(lambda x: x.mean((2, 3)))


def case(seed=0, b=3, h=6, w=8):
    g = torch.Generator().manual_seed(seed)
    x, m = torch.rand(b, 3, h, w, generator=g), torch.rand(b, h, w, generator=g)
    masks = torch.zeros(b, h, w, dtype=torch.bool)
    masks[:, 1:4, 2:5] = True
    return x, torch.rand(b, 3, generator=g), m, masks


def test_slugs_and_directions():
    published = dict(zip(reference().metric, reference().direction))
    for metric in METRICS:
        if metric.slug in published:
            assert metric.higher_is_better == (published[metric.slug] == "up")
    assert {confidence_drop.slug, confidence_increase.slug} <= set(published)


def test_confidence_against_a_slow_oracle():
    encoder, (x, h, m, _) = mean_colour(), case()
    drop, incr = (f(encoder, x, h, m) for f in (confidence_drop, confidence_increase))
    for i in range(3):
        scaled = (m[i] - m[i].min()) / (m[i].max() - m[i].min())
        o = F.cosine_similarity(x[i].mean((1, 2)), h[i], dim=0)
        s = F.cosine_similarity(torch.stack([(c * scaled).mean() for c in x[i]]), h[i], dim=0)
        assert abs(drop[i] - 100 * max(0.0, (o - s).item())) < 1e-4
        assert incr[i] == (100 if s > o else 0)


def test_confidence_of_maps_with_a_known_answer():
    encoder, (x, h, _, _) = mean_colour(), case()
    ones = ones_map(encoder, x, h).map
    assert confidence_drop(encoder, x, h, ones).tolist() == [0, 0, 0]
    assert confidence_increase(encoder, x, h, ones).tolist() == [0, 0, 0]
    o = F.cosine_similarity(encoder(x), h)
    assert torch.allclose(confidence_drop(encoder, x, h, 0 * ones), 100 * o)
    red = torch.zeros_like(x)  # the left half is the target's colour, the right half is not
    red[:, 0, :, :4], red[:, 1, :, 4:] = 1, 1
    target = torch.tensor([[1.0, 0, 0]]).repeat(3, 1)
    left = ones.clone()
    left[:, :, 4:] = 0
    assert confidence_increase(encoder, red, target, left).tolist() == [100, 100, 100]
    assert torch.allclose(
        confidence_drop(encoder, red, target, 1 - left), torch.full((3,), 100 / 2**0.5)
    )


def test_protocols_differ_where_they_should():
    encoder, (x, h, m, _) = mean_colour(), case()
    assert torch.allclose(
        confidence_drop(encoder, x, h, m),
        confidence_drop(encoder, x, h, min_max(m), protocol="raw"),
    )
    assert torch.allclose(
        confidence_drop(encoder, x, h, m), confidence_drop(encoder, x, h, 5 * m - 2), atol=1e-3
    )
    with pytest.raises(ValueError, match=r"map in \[0, 1\]"):
        confidence_drop(encoder, x, h, 5 * m, protocol="raw")
    with pytest.raises(ValueError, match="protocol must be one of"):
        confidence_drop(encoder, x, h, m, protocol="mine")


def test_perfect_and_worst_maps():
    encoder, (x, h, _, masks) = mean_colour(), case()
    args = (encoder, x, h)
    perfect = masks.float()
    assert iou(*args, perfect, masks=masks).tolist() == [1, 1, 1]
    assert iou(*args, -perfect, masks=masks).tolist() == [0, 0, 0]
    assert pointing_game(*args, perfect, masks=masks).tolist() == [1, 1, 1]
    assert pointing_game(*args, -perfect, masks=masks).tolist() == [0, 0, 0]
    others = masks.roll(3, 2)
    assert (mask_contrast(*args, perfect, masks=masks, others=others) == 1).all()
    assert (mask_mean(*args, 3 * perfect - 1, masks=masks) == 2).all()
    assert (mask_mean(*args, 3 * perfect - 1, masks=others) == -1).all()
    assert (mask_contrast(*args, others.float(), masks=masks, others=others) == -1).all()


def test_constant_maps_count_by_chance():
    encoder, (x, h, _, masks) = mean_colour(), case()
    a = 9 / 48  # the object's part of the image
    assert torch.allclose(
        iou(encoder, x, h, torch.ones(3, 6, 8), masks=masks), torch.full((3,), a / (2 - a))
    )
    assert torch.allclose(
        pointing_game(encoder, x, h, torch.ones(3, 6, 8), masks=masks), torch.full((3,), a)
    )


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_iou_against_sets_of_pixels(seed):
    encoder, (x, h, m, masks) = mean_colour(), case(seed)
    for i in range(3):
        ranked = sorted(
            ((m[i, r, c].item(), (r, c)) for r in range(6) for c in range(8)), reverse=True
        )
        hot = {p for _, p in ranked[:9]}
        thing = {(r, c) for r in range(6) for c in range(8) if masks[i, r, c]}
        assert iou(encoder, x, h, m, masks=masks)[i].item() == pytest.approx(
            len(hot & thing) / len(hot | thing)
        )
        assert pointing_game(encoder, x, h, m, masks=masks)[i].item() == (ranked[0][1] in thing)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.1, 5), st.floats(-3, 3))
def test_rank_metrics_ignore_monotone_changes_and_batches(seed, gain, shift):
    encoder, (x, h, m, masks) = mean_colour(), case(seed)
    m = (20 * m).round() / 20  # with ties, and so that rounding cannot make or break one
    for metric in (iou, pointing_game):
        score = metric(encoder, x, h, m, masks=masks)
        assert torch.allclose(
            score, metric(encoder, x, h, (m * gain + shift).exp(), masks=masks), atol=1e-5
        )
        one_by_one = [
            metric(encoder, x[i : i + 1], h[i : i + 1], m[i : i + 1], masks=masks[i : i + 1])
            for i in range(3)
        ]
        assert torch.equal(score, torch.cat(one_by_one))
        assert 0 <= score.min() <= score.max() <= 1


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_confidence_stays_in_its_range(seed):
    encoder, (x, h, m, _) = mean_colour(), case(seed)
    drop, incr = (f(encoder, x, h, m) for f in (confidence_drop, confidence_increase))
    assert 0 <= drop.min() <= drop.max() <= 200
    assert set(incr.tolist()) <= {0.0, 100.0}
    assert not ((drop > 0) & (incr > 0)).any()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_min_max(seed):
    _, _, m, _ = case(seed)
    scaled = min_max(3 * m - 1)
    assert torch.equal(scaled.flatten(1).amin(1), torch.zeros(3))
    assert torch.equal(scaled.flatten(1).amax(1), torch.ones(3))
    assert torch.equal(min_max(torch.full((1, 2, 2), 0.3)), torch.full((1, 2, 2), 0.3))


def test_deletion_is_the_drop_without_what_the_map_marks():
    encoder, (x, h, m, _) = mean_colour(), case()
    flat = m.flatten(1)
    cut = torch.stack([torch.quantile(v, 0.75) for v in flat])
    left = torch.where((m > cut.view(-1, 1, 1))[:, None], x.mean((2, 3), keepdim=True), x)
    o, s = (F.cosine_similarity(encoder(v), h) for v in (x, left))
    assert torch.allclose(deletion_drop(encoder, x, h, m), 100 * (o - s), atol=1e-4)
    known = deletion_drop(encoder, x, h, m, whole=encoder(x))
    assert torch.allclose(known, 100 * (o - s), atol=1e-4)
    assert deletion_drop(encoder, x, h, 0 * m).tolist() == [0, 0, 0]


def test_random_map_has_the_iou_of_chance():
    x = torch.rand(200, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(200, 56, 56, dtype=torch.bool)
    masks[:, 8:24, 8:24] = True
    a = 16 * 16 / 56**2
    found = iou(
        mean_colour(),
        x,
        torch.ones(200, 3),
        random_map(mean_colour(), x, torch.ones(200, 3)).map,
        masks=masks,
    ).mean()
    assert (
        0.5 * a / (2 - a) < found < 2.5 * a / (2 - a)
    )  # smooth blobs land on the square or beside it


def test_a_random_map_is_the_images_own():
    x, h = torch.rand(3, 3, 56, 56, generator=torch.Generator().manual_seed(0)), torch.ones(3, 3)
    whole = random_map(mean_colour(), x, h, seed=4).map
    assert (whole[0] - whole[1]).abs().max() > 0.5
    assert (whole - random_map(mean_colour(), x, h, seed=5).map).abs().amax((1, 2)).min() > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(map=torch.zeros(3, 6, 7)), "map must have shape"),
        (dict(map=torch.full((3, 6, 8), float("nan"))), "map holds NaN"),
        (dict(masks=torch.zeros(3, 6, 8)), "masks must be a bool"),
        (dict(masks=torch.zeros(3, 6, 8, dtype=torch.bool)), "empty mask"),
    ],
)
def test_bad_maps_and_masks(change, message):
    x, h, m, masks = case()
    args = dict(map=m, masks=masks) | change
    for metric in (iou, pointing_game):
        with pytest.raises(ValueError, match=message):
            metric(mean_colour(), x, h, args["map"], masks=args["masks"])


def test_more_localization_with_a_known_answer():
    encoder, (x, h, _, masks) = mean_colour(), case()
    exact, size = masks.float(), masks[0].float().mean().item()
    assert energy_in_mask(encoder, x, h, exact, masks=masks).tolist() == [1, 1, 1]
    assert energy_in_mask(encoder, x, h, 1 - exact, masks=masks).tolist() == [0, 0, 0]
    assert torch.allclose(
        energy_in_mask(encoder, x, h, 0 * exact + 3, masks=masks), torch.tensor(size)
    )
    assert energy_in_mask(encoder, x, h, -exact, masks=masks).tolist() == [0, 0, 0]
    assert miou(encoder, x, h, exact, masks=masks).tolist() == [1, 1, 1]
    assert miou(encoder, x, h, -exact, masks=masks).tolist() == [0, 0, 0]
    assert miou(encoder, x, h, exact + 7, masks=masks).tolist() == [
        1,
        1,
        1,
    ]  # scaled to itself first
    # 9 of 48 pixels are the object; the top quarter of a map without ties has 12
    ramp = exact + torch.arange(48.0).view(6, 8) / 1000
    assert torch.allclose(localization_iou(encoder, x, h, ramp, masks=masks), torch.tensor(9 / 12))
    assert localization_iou(encoder, x, h, -ramp, masks=masks).max() == 0
    with pytest.raises(ValueError, match="percentile must lie"):
        localization_iou(encoder, x, h, ramp, masks=masks, percentile=100)


def test_localization_against_a_slow_oracle():
    encoder, (x, h, m, masks) = mean_colour(), case()
    for i in range(3):
        values = sorted(m[i].flatten().tolist())
        place = 0.75 * (len(values) - 1)
        cut = values[int(place)] + (place - int(place)) * (
            values[int(place) + 1] - values[int(place)]
        )
        chosen = {(r, c) for r in range(6) for c in range(8) if m[i, r, c] > cut}
        named = {(r, c) for r in range(6) for c in range(8) if masks[i, r, c]}
        wanted = len(chosen & named) / len(chosen | named)
        assert localization_iou(encoder, x, h, m, masks=masks)[i].item() == pytest.approx(wanted)
        mass = sum(m[i, r, c].item() for r, c in named) / m[i].sum().item()
        assert energy_in_mask(encoder, x, h, m, masks=masks)[i].item() == pytest.approx(
            mass, rel=1e-5
        )


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_percentile_cut_depends_on_order_alone(seed):
    encoder, (x, h, m, masks) = mean_colour(), case(seed)
    ranks = (
        m.flatten(1).argsort(1).argsort(1).view_as(m).float()
    )  # a monotone transform of each map
    assert torch.equal(
        localization_iou(encoder, x, h, m, masks=masks),
        localization_iou(encoder, x, h, ranks, masks=masks),
    )


def test_two_things_and_single_instances():
    encoder, (x, h, _, masks) = mean_colour(), case()
    others = masks.roll(3, 2)
    places = dict(masks=masks, others=others)
    ground = 0.2 * (~(masks | others)).float()
    m = masks.float() + 0.5 * others + ground
    assert torch.allclose(evenness(encoder, x, h, 3 * m, **places), torch.tensor((0.5 - 0.2) / 0.8))
    flat = torch.full_like(m, 0.7)
    assert evenness(encoder, x, h, flat, **places).tolist() == [1, 1, 1]
    above = evenness(encoder, x, h, m, above_background=True, **places)
    assert torch.allclose(above, torch.tensor(0.3 / 0.8))
    assert evenness(encoder, x, h, flat, above_background=True, **places).max() == 0
    assert torch.allclose(weaker_thing(encoder, x, h, m, **places), torch.tensor(0.3 / 0.8))
    assert weaker_thing(encoder, x, h, masks.float(), **places).tolist() == [0, 0, 0]
    # 12 of 48 pixels lie above the 75th percentile: three of the mask's nine are enough
    few = torch.zeros(3, 6, 8)
    few[:, 1, 2:5] = 2
    few[:, 0] = 1
    few[:, 5, :1] = 1
    assert instance_recall(encoder, x, h, few, masks=masks).tolist() == [1, 1, 1]
    few[:, 1, 2] = 0
    assert instance_recall(encoder, x, h, few, masks=masks).tolist() == [0, 0, 0]
    assert mask_recall(encoder, x, h, masks.float(), masks=masks).tolist() == [1, 1, 1]
    half = masks.float()
    half[:, 1, 2:5] = 0  # three of nine are lost, and tie with the 39 pixels outside
    wanted = (6 + 3 * 3 / 42) / 9
    assert torch.allclose(mask_recall(encoder, x, h, half, masks=masks), torch.tensor(wanted))


def test_several_boxes_are_joined():
    masks = box_masks([[(0, 0, 2, 3), (1, 2, 4, 4)], [(-5, -5, 1, 1)]], (4, 6))
    assert masks.dtype == torch.bool
    assert masks.sum((1, 2)).tolist() == [6 + 6 - 1, 1]
    assert masks[0, 2, 3]
    assert not masks[0, 0, 3]


def test_map_statistics():
    encoder, (x, h, m, _) = mean_colour(), case()
    assert torch.allclose(map_area(encoder, x, h, m), m.mean((1, 2)))
    assert torch.allclose(map_area(encoder, x, h, m, above=0.5), (m > 0.5).float().mean((1, 2)))
    assert map_total_variation(encoder, x, h, 0 * m).tolist() == [0, 0, 0]
    big = torch.rand(2, 16, 16)
    assert torch.allclose(ssim(big, 3 * big + 1), torch.ones(2))  # scaled to itself first
    assert ssim(big, big.flip(2)).max() < 0.5
    stripes = torch.arange(8).remainder(2).float().expand(3, 6, 8)
    assert torch.allclose(
        map_total_variation(encoder, x, h, 5 * stripes), torch.ones(3)
    )  # every step across is a full one


def test_a_centred_gaussian_is_highest_in_the_middle_and_knows_nothing():
    x = torch.randn(2, 3, 20, 31)
    map = centred_gaussian(mean_colour(), x, torch.ones(2, 3)).map
    assert map.shape == (2, 20, 31) and torch.equal(map[0], map[1])
    assert map[0].argmax() in (9 * 31 + 15, 10 * 31 + 15) and torch.allclose(map, map.flip(1, 2))
    assert torch.allclose(
        map[0, :, 15] / map[0, :, 15].max(),
        torch.exp(-8 * (torch.linspace(-0.5, 0.5, 20) ** 2 - (0.5 / 19) ** 2)),
    )


def test_boundary_f_by_hand():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[:, 10:20, 10:20] = True
    inputs = torch.zeros(2, 3, 40, 40)
    far = torch.zeros(40, 40)
    far[28:38, 28:38] = 1
    found = boundary_f(None, inputs, None, torch.stack([masks[0].float(), far]), masks=masks)
    assert found.tolist() == [1, 0]
    near = torch.zeros(2, 40, 40)
    near[:, 12:22, 10:20] = 1  # two pixels lower: within reach of three, not of one
    assert boundary_f(None, inputs, None, near, masks=masks).tolist() == [1, 1]
    assert (boundary_f(None, inputs, None, near, masks=masks, reach=1) < 1).all()


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 5, 12), rng.integers(1, 6, 9)
    literal = np.mean([(h > v) + 0.5 * (h == v) for h in high for v in low])
    assert auc(low, high) == pytest.approx(literal)
    assert auc([0, 1], [2, 3]) == 1
    assert auc([2, 3], [0, 1]) == 0
    assert auc([1, 1], [1, 1]) == 0.5
    assert np.isnan(auc([], [1]))


def test_map_entropy():
    encoder, x = mean_colour(), torch.zeros(3, 3, 4, 4)
    spot, half = torch.zeros(4, 4), torch.zeros(4, 4)
    spot[1, 2], half[:2] = 5, 0.1
    entropy = map_entropy(encoder, x, None, torch.stack([torch.ones(4, 4), spot - 1, half]))
    wanted = [1, 0, np.log(8) / np.log(16)]
    assert entropy.tolist() == pytest.approx(wanted, abs=1e-6)
