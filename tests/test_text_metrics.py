"""Metrics that take words away: the text protocols, zero-shot ROAR, ROAR+."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.metrics_loop import zero_shot_roar_loop

import xai_utils as xu
from xai_utils.methods import p_ibisa, random_map
from xai_utils.metrics import (
    caption_ranks,
    completeness_gap,
    confidence_drop,
    confidence_increase,
    cost,
    deletion_drop,
    knn_hits,
    mismatch_auc,
    randomisation_test,
    randomised_map,
    randomised_maps,
    rank_correlation,
    roar_plus,
    zero_shot_roar,
)
from xai_utils.metrics.confidence import similarities
from xai_utils.models.weights import own_weights, randomise, weight_groups

NAN = float("nan")
TEXTS = ["a red car", "two small green apples on a table"]


@pytest.fixture(scope="module")
def clip():
    return xu.load_model("open_clip/ViT-B-32", device="cpu")


def text_map(encoder, texts, seed=0):
    lengths = [len(t) for t in encoder.tokenize(texts)[2]]
    g = torch.Generator().manual_seed(seed)
    return torch.stack(
        [
            torch.cat([torch.rand(n, generator=g), torch.full((max(lengths) - n,), NAN)])
            for n in lengths
        ]
    )


def targets(encoder, n=2, seed=1):
    return torch.randn(n, encoder.dim, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_m2ib_keeps_what_is_above_the_median(conse):
    text, h = conse.text, targets(conse.text)
    m = text_map(text, TEXTS)
    kept, whole = similarities(text, TEXTS, h, m)
    for i, t in enumerate(TEXTS):
        ids, valid, tokens = text.tokenize([t])
        n = len(tokens[0])
        scores = m[i, :n]
        cut = (
            scores.sort().values[n // 2]
            if n % 2
            else (scores.sort().values[n // 2 - 1] + scores.sort().values[n // 2]) / 2
        )
        for k in range(n):
            if not scores[k] > cut:
                ids[0, 1 + k] = text.blank
        assert torch.allclose(
            kept[i], F.cosine_similarity(text.encode_ids(ids, valid), h[i : i + 1])[0], atol=1e-5
        )
        assert torch.allclose(whole[i], F.cosine_similarity(text([t]), h[i : i + 1])[0], atol=1e-5)


@torch.no_grad()
def test_nib_scales_the_embeddings(conse, clip):
    for text in (conse.text, clip.text):
        h, m = targets(text), text_map(text, TEXTS)
        ids, valid, _ = text.tokenize(TEXTS)
        # ones: nothing changes; for CLIP the embedding of a token is scaled before its position is
        # added
        assert torch.allclose(
            text.encode_ids(ids, valid, torch.ones(ids.shape)), text(TEXTS), atol=1e-5
        )
        kept, _ = similarities(text, TEXTS, h, m, "nib")
        again, _ = similarities(text, TEXTS, h, 5 * m - 2, "nib")  # min-max scaling
        assert torch.allclose(kept, again, atol=1e-5)
        assert (kept - similarities(text, TEXTS, h, m)[0]).abs().max() > 1e-4
    assert clip.text.blank == 49407


@torch.no_grad()
def test_clip_weight_is_on_the_token_embedding_alone(clip):
    text = clip.text
    ids, valid, _ = text.tokenize(["a red car"])
    z = text.parts.stem(ids, torch.zeros(ids.shape))
    assert torch.allclose(
        z, text.parts.stem(0 * ids, torch.zeros(ids.shape))
    )  # only positions are left
    assert z.abs().max() > 0


@torch.no_grad()
def test_released_protocols_drop_the_special_tokens(conse, clip):
    for text in (conse.text, clip.text):
        h, m = targets(text), text_map(text, TEXTS)
        _, whole = similarities(text, TEXTS, h, m, "m2ib-released")
        ids, _, tokens = text.tokenize(TEXTS)
        for i in range(2):
            inner = ids[i : i + 1, 1 : 1 + len(tokens[i])]
            if text.causal:
                inner = inner[:, : int(inner.argmax()) + 1]
            alone = text.encode_ids(inner, torch.ones(inner.shape, dtype=torch.bool))
            assert torch.allclose(whole[i], F.cosine_similarity(alone, h[i : i + 1])[0], atol=1e-5)
        for protocol in ("m2ib-released", "nib-released"):
            one_by_one = torch.cat(
                [
                    confidence_drop(
                        text, [t], h[i : i + 1], m[i : i + 1, : len(tokens[i])], protocol=protocol
                    )
                    for i, t in enumerate(TEXTS)
                ]
            )
            assert torch.allclose(
                confidence_drop(text, TEXTS, h, m, protocol=protocol), one_by_one, atol=1e-3
            )


def test_a_repeated_word_takes_every_score_in_nibs_code(conse):
    text, h = conse.text, targets(conse.text, 1)
    twice = ["a car and a car"]
    m = torch.tensor([[0.0, 0.5, 1.0, 0.5, 0.5]])
    kept, _ = similarities(text, twice, h, m, "nib-released")
    with torch.no_grad():
        ids, _, _ = text.tokenize(twice)
        inner = ids[:, 1:-1]
        weight = torch.tensor([[0.0, 0.25, 1.0, 0.0, 0.25]])  # "a" 0 x 0.5, "car" 0.5 x 0.5
        wanted = F.cosine_similarity(
            text.encode_ids(inner, torch.ones_like(inner, dtype=torch.bool), weight), h
        )
    assert torch.allclose(kept, wanted.float(), atol=1e-5)


def test_perfect_and_worst_text_map(conse):
    """Keep the word that the target is made of, or throw just that word away."""
    text = conse.text
    texts, h = ["the zebra of there"], conse.encode_text(["zebra"])
    best = torch.tensor([[0.0, 1.0, 0.9, 0.1]])
    assert text.tokenize(texts)[2] == [["the", "zebra", "of", "there"]]
    for protocol in ("m2ib", "nib"):
        good, bad = (confidence_drop(text, texts, h, m, protocol=protocol) for m in (best, -best))
        assert good < bad - 10
    assert confidence_increase(text, texts, h, -best) == 0


def test_m2ib_released_uses_the_first_row_only(small):
    encoder, x, h = xu.wrap(small), torch.randn(2, 3, 32, 32), torch.randn(2, 10)
    m = torch.rand(2, 32, 32)
    m[:, 0, :2] = torch.tensor([0.0, 1.0])  # so that both scale alike
    rows = m[:, :1].expand(-1, 32, -1)
    released, _ = similarities(encoder, x, h, m, "m2ib-released")
    assert torch.allclose(released, similarities(encoder, x, h, rows, "raw")[0], atol=1e-6)
    assert not torch.allclose(released, similarities(encoder, x, h, m, "m2ib")[0], atol=1e-3)


def test_inverse_distance(small):
    encoder, x, h = xu.wrap(small), torch.randn(2, 3, 32, 32), torch.randn(2, 10)
    with torch.no_grad():
        before, after = encoder(x), encoder(0 * x)
    wanted = 100 * (1 / (before - h).norm(dim=1) - 1 / (after - h).norm(dim=1)).clamp(min=0)
    nothing = torch.zeros(2, 32, 32)
    assert torch.allclose(
        confidence_drop(encoder, x, h, nothing, similarity="inverse-distance"), wanted, atol=1e-4
    )
    with pytest.raises(ValueError, match="inverse distance is infinite"):
        confidence_drop(encoder, x, before, nothing, similarity="inverse-distance")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(protocol="chefer"), "protocol must be one of"),
        (dict(protocol="raw"), "is for images"),
        (dict(similarity="l2"), "similarity must be"),
        (dict(map=torch.rand(2, 3)), r"map must have shape \(2, 7\)"),
        (dict(map=torch.full((2, 7), NAN)), "NaN or infinite values on tokens"),
    ],
)
def test_bad_text_metric_calls(conse, change, message):
    text = conse.text
    call = dict(map=text_map(text, TEXTS)) | change
    with pytest.raises(ValueError, match=message):
        confidence_drop(text, TEXTS, targets(text), **call)


def pairs(n):
    """n photographs and things of their own captions."""
    samples = xu.load_dataset("photos")[:n]
    return samples, [s.caption for s in samples]


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
@pytest.mark.parametrize("side", ["co", "oc"])
def test_roar_is_the_literal_ratio(conse, direction, side):
    samples, texts = pairs(6)
    x = torch.stack([conse.image.transform(s.image) for s in samples])
    images, words = conse.encode_image(x), conse.encode_text(texts)
    if side == "co":
        m = torch.rand(6, 224, 224, generator=torch.Generator().manual_seed(0))
        score = zero_shot_roar(conse.image, x, words, m, direction=direction)
        gone = torch.stack(
            [
                torch.where(a > a.quantile(0.75), b.mean((1, 2), keepdim=True), b)
                for a, b in zip(m, x)
            ]
        )
        corrupt, own, other = conse.encode_image(gone), images, words
    else:
        m = text_map(conse.text, texts)
        score = zero_shot_roar(conse.text, texts, images, m, direction=direction)
        ids, valid, tokens = conse.text.tokenize(texts)
        for i, t in enumerate(tokens):
            for k in range(len(t)):
                if m[i, k] > m[i, : len(t)].quantile(0.9):
                    ids[i, 1 + k] = 0
        with torch.no_grad():
            corrupt, own, other = conse.text.encode_ids(ids, valid), words, images
    mine = (direction == "i2t") == (side == "co")
    wanted = zero_shot_roar_loop(
        corrupt, None, own if mine else other, other if mine else own, mine
    )
    assert score.shape == (6,)
    assert score.mean().item() == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_roar_searches_among_distractors_too(conse, direction):
    samples, texts = pairs(7)
    x = torch.stack([conse.image.transform(s.image) for s in samples])
    images, words = conse.encode_image(x), conse.encode_text(texts)
    m = torch.rand(4, 224, 224, generator=torch.Generator().manual_seed(0))
    gone = torch.stack(
        [torch.where(a > a.quantile(0.75), b.mean((1, 2), keepdim=True), b) for a, b in zip(m, x)]
    )
    with torch.no_grad():
        corrupt = conse.encode_image(gone)
    mine = direction == "i2t"
    more = (words if mine else images)[4:]
    hit = []
    for own in (images[:4], corrupt):
        queries, partners = (own, words[:4]) if mine else (words[:4], own)
        gallery = torch.cat([partners, more])
        found = torch.cosine_similarity(queries[:, None], gallery[None], dim=2).argmax(1)
        hit.append((found == torch.arange(4)).float())
    score = zero_shot_roar(conse.image, x[:4], words[:4], m, direction=direction, distractors=more)
    assert torch.allclose(score, 100 * (hit[0] - hit[1]) / hit[0].mean())
    known = zero_shot_roar(
        conse.image, x[:4], words[:4], m, direction=direction, distractors=more, whole=images[:4]
    )
    assert torch.equal(known, score)
    with pytest.raises(ValueError, match="distractors must be embeddings"):
        zero_shot_roar(conse.image, x[:4], words[:4], m, distractors=more[:, :9])


def test_distractors_that_come_first_make_every_query_fail(conse):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    h = conse.encode_image(x)
    m = torch.rand(2, 224, 224)
    with pytest.raises(ValueError, match="not one query finds its partner"):
        zero_shot_roar(conse.image, x, h, m, distractors=h)  # a tie is a miss


def test_roar_of_a_map_that_marks_the_text_and_of_one_that_does_not(conse, stamps):
    """Taking the object away loses its caption, taking the grey ground away does not."""
    shown = [
        s
        for s in stamps[:40]
        if s.id.split("-")[-1] in ("frog", "bear", "chicken", "zebra", "lion", "cow", "pig", "duck")
    ]
    shown = shown or stamps[:8]
    x = torch.stack([conse.image.transform(s.image) for s in shown])
    h = conse.encode_image(x)  # each picture is its own best partner
    object_map = torch.stack([s.masks((224, 224))[0] for s in shown]).float() + 0.01 * torch.rand(
        len(shown), 224, 224
    )
    object_lost = zero_shot_roar(conse.image, x, h, object_map).mean()
    ground_lost = zero_shot_roar(conse.image, x, h, -object_map).mean()
    assert object_lost > ground_lost


def test_roar_complains_where_there_is_nothing_to_lose(conse):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    h = conse.encode_image(x).flip(0)
    with pytest.raises(ValueError, match="not one query finds its partner"):
        zero_shot_roar(conse.image, x, h, torch.rand(2, 224, 224))


@pytest.mark.slow
def test_roar_plus(conse):
    samples = xu.load_dataset("photos", n=9)[:]
    x = torch.stack(
        [conse.image.transform(s.image) for s in samples]
        + [conse.image.transform(samples[0].image).flip(-1)]
    )
    texts = [s.caption for s in samples] + ["a mirrored cat"]
    before = {k: v.clone() for k, v in conse.image.weights.items()}
    state = torch.get_rng_state()
    options = dict(repeats=2, epochs=1, batch=4)
    flat = torch.zeros(
        10, 224, 224
    )  # nothing lies above its percentile: both runs see the same pairs
    assert roar_plus(conse, x, texts, flat, **options).tolist() == [0, 0]
    m = random_map(conse.image, x, conse.encode_text(texts)).map
    one, two = (roar_plus(conse, x, texts, m, **options) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (2,)
    assert one.abs().min() > 0
    t = random_map(conse.text, texts, conse.encode_image(x)).map
    assert roar_plus(conse, x, texts, text_map=t, **options).abs().max() > 0
    assert all(
        torch.equal(before[k], v) and not v.requires_grad for k, v in conse.image.weights.items()
    )
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match="one of the two"):
        roar_plus(conse, x, texts, m, t)
    with pytest.raises(ValueError, match="at least 10 pairs"):
        roar_plus(conse, x[:5], texts[:5], m[:5])


def test_deletion_of_words_replaces_the_upper_half(conse):
    h, m = targets(conse.text), text_map(conse.text, TEXTS)
    ids, valid, tokens = conse.text.tokenize(TEXTS)
    for i, words in enumerate(tokens):
        n = len(words)
        ids[i, 1 : n + 1][m[i, :n] > m[i, :n].quantile(0.5)] = conse.text.blank
    s = F.cosine_similarity(conse.text.encode_ids(ids, valid), h)
    o = F.cosine_similarity(conse.text(TEXTS), h)
    assert torch.allclose(deletion_drop(conse.text, TEXTS, h, m), 100 * (o - s), atol=1e-3)


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    a, b = torch.rand(2, 5, 6).round(decimals=1), torch.rand(2, 5, 6)
    wanted = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b)]
    assert torch.allclose(rank_correlation(a, b), torch.tensor(wanted).float(), atol=1e-6)
    assert torch.allclose(rank_correlation(a, a.exp()), torch.ones(2))
    assert torch.allclose(rank_correlation(a, -a), -torch.ones(2))
    assert torch.isnan(rank_correlation(torch.ones(1, 4), torch.rand(1, 4))).all()
    with pytest.raises(ValueError, match="one shape"):
        rank_correlation(a, b[:1])


def test_weight_groups_hold_every_weight_once(conse, clip, classifier):
    x = torch.randn(1, 3, 224, 224)
    for encoder, inputs in (
        (conse.image, x),
        (conse.text, ["a"]),
        (clip.image, x),
        (clip.text, ["a"]),
        (classifier, x),
    ):
        groups = weight_groups(encoder, inputs)
        names = [n for members in groups.values() for n in members]
        assert sorted(names) == sorted(encoder.weights)
        assert [g for g in groups if g.startswith("block")] == [
            f"block {i}" for i in reversed(range(encoder.depth))
        ]
    assert any("proj" in n for n in weight_groups(clip.image, x)["tail"])
    assert "classifier.weight" in weight_groups(classifier, x)["tail"]


def test_own_weights_are_given_back_even_after_an_error(conse):
    x = torch.randn(1, 3, 224, 224)
    before = conse.encode_image(x)
    with pytest.raises(RuntimeError, match="stop"), own_weights(conse.image) as weights:
        randomise(weights, list(weights), 0)
        assert not torch.allclose(conse.encode_image(x), before, atol=1e-2)
        raise RuntimeError("stop")
    assert torch.equal(conse.encode_image(x), before)
    with (
        pytest.raises(ValueError, match="shows no weights"),
        own_weights(xu.wrap(lambda x: x.mean((2, 3)))),
    ):
        pass


def gradient_map(encoder, inputs, targets):
    from xai_utils.types import Attribution

    x = inputs.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cosine_similarity(encoder(x), targets).sum(), x)
    return Attribution(
        map=g.abs().sum(1), unit="gradient", signed=False, cost=dict(forwards=1, backwards=1)
    )


def edge_map(encoder, inputs, targets):
    from xai_utils.types import Attribution

    m = F.pad(inputs.mean(1).diff(dim=1).abs(), (0, 0, 0, 1))
    return Attribution(map=m, unit="edges", signed=False, cost=dict(forwards=0, backwards=0))


@pytest.mark.slow
@pytest.mark.parametrize("cascading", [True, False])
def test_randomisation_is_noticed_by_gradients_and_not_by_an_edge_detector(conse, cascading):
    x = torch.stack([conse.image.transform(s.image) for s in xu.load_dataset("photos")[:2]])
    h = conse.encode_text(["a cat", "a cup of coffee"])
    table = randomisation_test(gradient_map, conse.image, x, h, cascading=cascading)
    assert list(table.columns) == ["step", "layer", "sample", "spearman"]
    means = table.groupby("layer", sort=False).spearman.mean()
    assert list(means.index) == [
        "trained",
        "tail",
        *[f"block {i}" for i in reversed(range(7))],
        "stem",
    ]
    assert means["trained"] == 1
    assert means.iloc[1:].max() < 0.95
    maps = randomised_maps(gradient_map, conse.image, x, h, cascading=cascading)
    assert list(maps) == list(means.index)
    again = [rank_correlation(maps["trained"], m).mean().item() for m in maps.values()]
    assert np.allclose(again, means, atol=1e-4)
    edges = randomisation_test(edge_map, conse.image, x, h, cascading=cascading)
    assert (edges.spearman > 0.9999).all()
    assert torch.equal(conse.encode_text(["a cat"]), h[:1])


def test_some_weights_become_random(conse):
    x = conse.image.transform(xu.load_dataset("photos")[0].image)[None]
    call = (conse.image, x, conse.encode_text(["a cat"]))
    trained, names = gradient_map(*call).map, weight_groups(conse.image, x)["block 6"]
    one, two, other = (randomised_map(gradient_map, *call, names, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert not torch.equal(one, trained)
    assert torch.equal(gradient_map(*call).map, trained)


def test_completeness_of_a_linear_path(conse):
    """For scores that are the change itself the gap is 0, for twice that it is 1."""
    x = conse.image.transform(xu.load_dataset("photos")[0].image)[None]
    h = conse.encode_text(["a cat"])
    split = conse.image.split(5)
    with torch.no_grad():
        z = split.prefix(x)
        change = F.cosine_similarity(split.suffix(z), h) - F.cosine_similarity(
            split.suffix(0 * z), h
        )
    scores = torch.zeros(1, 7, 7)
    scores[0, 3, 3] = change
    assert completeness_gap(conse.image, x, h, scores, layer=5) < 1e-5
    assert completeness_gap(conse.image, x, h, 2 * scores, layer=5).item() == pytest.approx(
        1, abs=1e-4
    )


def test_mismatch_auc():
    auc, low, high = mismatch_auc([1, 2, 3, 4.0], [True, True, False, False])
    assert auc == high == 1 and 0.3 < low < 0.7  # four pairs, all in order
    assert mismatch_auc([4, 3, 2, 1.0], [True, True, False, False])[0] == 0
    auc, low, high = mismatch_auc(
        torch.randn(400, generator=torch.Generator().manual_seed(0)), [True, False] * 200
    )
    assert low < 0.5 < high
    assert abs(auc - 0.5) < 0.1
    with pytest.raises(ValueError, match="pairs of both kinds"):
        mismatch_auc([1, 2], [True, True])


def test_mismatch_auc_leaves_out_whole_pictures():
    rng = np.random.default_rng(0)
    own = rng.normal(size=40)
    losses = np.concatenate([own, own + 0.1])  # each picture's other caption is a little dearer
    matched, pictures = np.repeat([True, False], 40), [f"p{i % 40}" for i in range(80)]
    auc, low, high = mismatch_auc(losses, matched, clusters=pictures)
    apart = mismatch_auc(losses, matched)
    assert auc == apart[0]
    assert 0.5 < low < auc < high  # paired: sure of what single pairs are not
    assert apart[1] < 0.5 < apart[2]
    with pytest.raises(ValueError, match="clusters must name"):
        mismatch_auc(losses, matched, clusters=pictures[:3])


def test_cost_counts_what_a_method_does(conse):
    x, h = torch.randn(1, 3, 224, 224), torch.randn(1, 384)
    costs = cost(partial(p_ibisa, masks=2, steps=2), conse.image, x, h, repeats=1)
    assert (costs["forwards"], costs["backwards"]) == (4, 4)
    assert costs["ratio"] > 2  # four passes forward and back against one forward
    assert costs["seconds"] > costs["forward_seconds"] > 0
    assert costs["memory_mb"] >= 0
    held = []

    def hungry(encoder, inputs, targets):
        held[:] = [torch.ones(64 * 2**20 // 4)]
        a = random_map(encoder, inputs, targets)
        held.clear()
        return a

    assert cost(hungry, conse.image, x, h, repeats=1)["memory_mb"] > 40


def test_knn_hits_by_hand():
    angles = torch.tensor([0.0, 0.1, 0.2, 2.0, 2.1, 2.2, 0.6])
    h = torch.stack([angles.cos(), angles.sin()], 1)
    kinds = ["cat", "cat", "cat", "dog", "dog", "dog", "dog"]
    hit = knn_hits(5 * h, kinds, k=2)  # the last one lies among the cats
    assert hit.tolist() == [1, 1, 1, 1, 1, 1, 0]
    with pytest.raises(ValueError, match="more than 7 pictures"):
        knn_hits(h, kinds, k=7)
    with pytest.raises(ValueError, match="got 2 for 7"):
        knn_hits(h, kinds[:2], k=1)


def test_caption_ranks_by_hand():
    captions = torch.eye(4)
    images = torch.tensor([[1.0, 0.5, 0.2, 0.1], [0.9, 0.8, 0.1, 0.0], [0.1, 0.1, 0.1, 0.1]])
    assert caption_ranks(images, captions, [[0], [1], [2]]).tolist() == [
        1,
        2,
        4,
    ]  # ties stand before one's own
    assert caption_ranks(images, captions, [[3, 1], [2, 3], [0, 1, 2]]).tolist() == [2, 3, 2]
    with pytest.raises(ValueError, match="right must name"):
        caption_ranks(images, captions, [[0], [], [1]])
