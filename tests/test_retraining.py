"""ROAR+ on the last blocks, with spare pairs, and the fine-tuning behind it."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import xai_utils as xu
from xai_utils.corruption import blanked, without_pixels
from xai_utils.metrics import fine_tuned, retraining, roar_plus
from xai_utils.models.weights import own_weights, weight_groups


@pytest.fixture(scope="module")
def pairs(conse):
    samples = xu.load_dataset("photos", n=9)[:]
    x = torch.stack([conse.image.transform(s.image) for s in samples])
    return x, [s.caption for s in samples]


def literal_loss(model, names, data, whole, train, held, *, seed, lr):
    """Fine-tune through the whole towers, one epoch in batches of 3, and validate."""
    towers = [
        replace(encoder, weights={n: encoder.weights[n] for n in some})
        for encoder, some in zip((model.image, model.text), names)
    ]

    def loss(pairs, rows):
        images, ids, valid = (v[rows] for v in pairs)
        a, b = F.normalize(model.image(images)), F.normalize(model.text.encode_ids(ids, valid))
        own = torch.arange(len(rows))
        return sum(F.cross_entropy(logits / 0.07, own) for logits in (a @ b.T, b @ a.T)) / 2

    with own_weights(towers[0]) as one, own_weights(towers[1]) as two:
        weights = [*one.values(), *two.values()]
        adam = torch.optim.AdamW(weights, lr=lr, weight_decay=0.01)
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        for rows in train[order].split(3):
            if len(rows) > 1:
                found = torch.autograd.grad(loss(data, rows), weights, allow_unused=True)
                for w, g in zip(weights, found):
                    w.grad = g
                adam.step()
        with torch.no_grad():
            return loss(whole, held).item()


@pytest.mark.parametrize("side", ["image", "text"])
def test_the_last_block_with_spare_pairs_is_the_literal_loop(conse, pairs, side):
    x, texts = pairs
    spare, own = (x[4:], texts[4:]), texts[:5]  # five pairs, one of which stands twice, and five
    names = []
    for encoder, inputs in ((conse.image, x[:1]), (conse.text, texts[:1])):
        groups = weight_groups(encoder, inputs)
        names.append(groups.get("tail", []) + groups[f"block {encoder.depth - 1}"])
    ids, valid, tokens = conse.text.tokenize(own + spare[1])
    whole = torch.cat([x[:5], spare[0]]), ids, valid
    g = torch.Generator().manual_seed(0)
    if side == "image":
        map = torch.rand(5, 224, 224, generator=g)
        left = without_pixels(x[:5], map, 75)
        degraded = torch.cat([left, spare[0]]), ids, valid
    else:
        rows = [torch.rand(len(t), generator=g) for t in tokens[:5]]
        map = torch.nn.utils.rnn.pad_sequence(rows, True, float("nan"))
        changed = ids.clone()
        few = blanked(conse.text, own, map, 50)[0]
        changed[:5, : few.shape[1]] = few
        degraded = whole[0], changed, valid
    wanted = []
    for seed in (7, 8):
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        held = torch.cat([order[4:], torch.arange(5, 10)])
        options = dict(seed=seed, lr=1e-3)
        l_o, l_c = (
            literal_loss(conse, names, data, whole, order[:4], held, **options)
            for data in (whole, degraded)
        )
        wanted.append(100 * (l_c - l_o) / l_o)
    options = dict(blocks=1, spare=spare, repeats=2, seed=7, epochs=1, batch=3, lr=1e-3)
    found = roar_plus(conse, x[:5], own, **{f"{side}_map": map}, **options)
    assert torch.allclose(found, torch.tensor(wanted), rtol=1e-2, atol=1e-3)
    assert found.abs().min() > 0


def test_maps_that_are_scored_together_share_what_does_not_depend_on_them(
    conse, pairs, monkeypatch
):
    x, texts = pairs
    c = xu.cases(conse, xu.load_dataset("photos", n=6))
    calls = []
    literal = retraining.validation_losses
    monkeypatch.setattr(
        retraining, "validation_losses", lambda *a: calls.append(len(calls)) or literal(*a)
    )
    options = dict(blocks=1, spare=(x[5:], texts[5:]), repeats=2, epochs=1, lr=1e-3)
    maps = {"flat": torch.zeros(6, 224, 224), "random": torch.rand(6, 224, 224)}
    table = xu.score(maps, c, {"roar-plus": partial(roar_plus, **options)})
    assert len(calls) == 3  # l_o, and l_c of two methods
    assert table.error.eq("").all()
    assert list(table["sample"]) == ["repeat 0", "repeat 1"] * 2
    assert table[table.method == "flat"].value.tolist() == [0, 0]
    alone = roar_plus(conse, c.images, c.texts, maps["random"], **options)
    assert table[table.method == "random"].value.tolist() == alone.tolist()


def test_a_fine_tuned_model_is_another_one_for_a_while(conse, pairs):
    x, texts = pairs
    before = conse.image(x[:2]), conse.text(texts[:2])
    with fine_tuned(conse, x[:4], texts[:4], blocks=1, epochs=1, lr=1e-2):
        inside = conse.image(x[:2]), conse.text(texts[:2])
    after = conse.image(x[:2]), conse.text(texts[:2])
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, inside))
    weights = [*conse.image.weights.values(), *conse.text.weights.values()]
    assert not any(w.requires_grad for w in weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(blocks=0), "blocks must be an integer of at least 1"),
        (dict(blocks=99), "blocks must be at most"),
        (dict(spare=None), "at least 10 pairs"),
        (dict(spare=(torch.zeros(4, 3, 224, 224), ["a cat"])), "as many images as texts"),
    ],
)
def test_bad_options(conse, pairs, change, message):
    x, texts = pairs
    options = dict(blocks=1, spare=(x[5:], texts[5:])) | change
    with pytest.raises(ValueError, match=message):
        roar_plus(conse, x[:6], texts[:6], torch.rand(6, 224, 224), **options)
