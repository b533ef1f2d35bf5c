from dataclasses import replace

import pytest
import timm
import torch
from planted import Patch, small_bert, tokenizer
from reference.p_ibisa_loop import p_ibisa_loop, p_ibisa_text_loop

import xai_utils as xu
from xai_utils.methods import p_ibisa
from xai_utils.methods.masks import (
    area,
    bicubic,
    grid_size,
    sample_grids,
    total_variation,
    upsample,
)
from xai_utils.methods.p_ibisa_inputs import sample_words

FAST = dict(masks=4, steps=6, rate=8)


def pair(dtype=torch.float32, b=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(b, 3, 32, 40, generator=generator, dtype=dtype)
    return x, torch.randn(b, 10, generator=generator, dtype=dtype)


@pytest.mark.parametrize(
    "options",
    [
        dict(beta=2.0, phi=1.0),
        dict(beta=10.0, phi=0.5, align="mse"),
        dict(beta=None, phi=None),
        dict(beta=None, phi=None, weights_lr=1.0, t_min=1.0),
        dict(beta=None, phi=None, t_min=None),
        dict(beta=1.0, phi=1.0, why="different"),
    ],
)
def test_equals_algorithm_1(small, options):
    encoder = xu.wrap(small.double())
    x, h = pair(torch.float64)
    result = p_ibisa(encoder, x, h, **FAST, **options)
    loop = {k: v for k, v in options.items() if k != "why"} | dict(
        dissimilar=options.get("why") == "different"
    )
    starts = sample_grids(4, (4, 5), 3.0, 0)
    for i in range(3):
        literal = p_ibisa_loop(encoder, x[i], h[i], starts=starts, steps=6, lr=1.0, **loop)
        assert (result.map[i] - literal).abs().max() < 1e-5


@pytest.mark.slow
def test_equals_algorithm_1_on_a_real_architecture():
    """All 15 steps in float64: in float32 Adam at rate 1 magnifies rounding of 1e-7 to 1e-2 of a
    mask within 15 steps."""
    encoder = xu.wrap(timm.create_model("resnet10t", num_classes=0).double())
    x = torch.randn(
        1, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    h = encoder(x)
    result = p_ibisa(encoder, x, h, masks=2)
    starts = sample_grids(2, grid_size(encoder.image_size, None), 3.0, 0)
    literal = p_ibisa_loop(encoder, x[0], h[0], starts=starts, steps=15, beta=2.0, phi=1.0, lr=1.0)
    assert (result.map[0] - literal).abs().max() < 1e-5


def test_one_tenth_more_beta_is_another_map():
    encoder = xu.wrap(Patch())
    x = 1 + 0.1 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = (p_ibisa(encoder, x, encoder(x), rate=8, beta=b).map for b in (1.0, 1.1))
    assert (
        one - other
    ).abs().max() > 1e-3  # a hundred times what the comparison with Algorithm 1 allows


@pytest.mark.slow
def test_a_real_encoder_gives_the_same_bits_alone_in_a_batch_and_in_chunks(conse):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    h = conse.encode_text(["a zebra", "a strawberry"])
    together = p_ibisa(conse.image, x, h, masks=8, steps=3).map
    assert torch.equal(together[1], p_ibisa(conse.image, x[1:], h[1:], masks=8, steps=3).map[0])
    assert torch.equal(together, p_ibisa(conse.image, x, h, masks=8, steps=3, chunk=5).map)


def test_contrast_is_the_difference_of_two_maps(small):
    encoder, (x, h) = xu.wrap(small), pair()
    a = p_ibisa(encoder, x, h, why="contrast", **FAST)
    similar, different = (
        p_ibisa(encoder, x, h, why=w, **FAST).map for w in ("similar", "different")
    )
    assert torch.equal(a.map, similar - different)
    assert a.signed
    assert a.cost == dict(forwards=48, backwards=48)
    assert {"loss_similar", "loss_different"} <= set(a.trace)


def test_counts_its_passes_and_keeps_its_trace(small):
    passes = dict(forward=0)

    def f(x):
        passes["forward"] += len(x)
        return x.mean((2, 3))

    x, _ = pair()
    a = p_ibisa(xu.wrap(f), x, torch.ones(3, 3), beta=None, phi=None, **FAST)
    assert passes["forward"] == 3 * a.cost["forwards"] == 72
    assert set(a.trace) == {"loss", "align", "area", "beta", "phi", "t"}
    assert all(v.shape == (6, 3, 4) for v in a.trace.values())
    assert a.map.shape == (3, 32, 40)
    assert a.map.dtype == torch.float32
    assert 0 <= a.map.min() <= a.map.max() <= 1


@pytest.mark.parametrize(("n", "length"), [(7, 224), (4, 32), (5, 37), (2, 2)])
def test_upsample_is_torchs_bicubic_and_sigmoid(n, length):
    g = torch.randn(3, n, n + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    literal = torch.sigmoid(
        torch.nn.functional.interpolate(g[:, None], size=(length, length + 5), mode="bicubic")
    )[:, 0]
    assert torch.allclose(upsample(g, (length, length + 5)), literal, atol=1e-6)
    assert torch.allclose(bicubic(n, length).sum(1), torch.ones(length), atol=1e-5)


def test_penalties_on_masks_one_can_count():
    m = torch.zeros(1, 4, 4)
    m[0, 1:3, 1:3] = 1
    assert area(m) == 4
    assert total_variation(m) == 8  # the length of the square's outline


def test_grids():
    assert grid_size((224, 224), None) == (7, 7)
    assert grid_size((448, 224), 32) == (14, 7)
    assert grid_size((32, 32), None) == (8, 8)
    g = sample_grids(500, (7, 7), 3.0, 0)
    assert g.abs().max() <= 3
    assert abs(g.mean()) < 0.05
    assert abs(g.std() - 3 / 3**0.5) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(beta=None), "both None"),
        (dict(rate=32), "a smaller rate"),
        (dict(align="mse", why="different"), "align must be"),
    ],
)
def test_options_that_do_not_go_together(small, options, message):
    with pytest.raises(ValueError, match=message):
        p_ibisa(xu.wrap(small), torch.zeros(1, 3, 32, 32), torch.ones(1, 10), **options)


TEXTS = ["a zebra", "two ripe strawberries and a small green frog", "an old field gun"]


@pytest.fixture(scope="module")
def bert():
    """In float64."""
    return small_bert().double().eval(), tokenizer()


@pytest.mark.parametrize(
    "options",
    [
        dict(beta=2.0),
        dict(beta=0.5, k=7, align="mse"),
        dict(beta=None),
        dict(beta=None, weights_lr=1.0, t_min=1.0),
        dict(beta=1.0, why="different"),
    ],
)
def test_texts_equal_algorithm_1_word_by_word(bert, options):
    model, tokenizer = bert
    encoder = xu.wrap(model, tokenizer=tokenizer)
    h = torch.randn(3, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = p_ibisa(encoder, TEXTS, h, masks=4, steps=6, **options)
    assert result.tokens == encoder.tokenize(TEXTS)[2]
    assert result.map.shape == (3, max(map(len, result.tokens)))
    loop = {k: v for k, v in options.items() if k != "why"} | dict(lr=1.0, steps=6)
    loop["dissimilar"] = options.get("why") == "different"
    for text, words, target, row in zip(TEXTS, result.tokens, h, result.map):
        starts = sample_words(4, len(words), 3.0, 0)[:, 0]
        own = loop | dict(k=options.get("k", 3 * len(words)))
        literal = p_ibisa_text_loop(
            model,
            encoder.tokenize([text])[0][0],
            tokenizer.pad_token_id,
            target,
            starts=starts,
            **own,
        )
        assert (row[: len(words)] - literal).abs().max() < 1e-5
        assert row[len(words) :].isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [dict(), dict(beta=None), dict(why="contrast")])
def test_a_text_has_one_map_alone_in_company_and_in_chunks(conse, options):
    h = torch.randn(3, 384, generator=torch.Generator().manual_seed(0))
    together = p_ibisa(conse.text, TEXTS, h, masks=4, steps=4, **options)
    for i, words in enumerate(together.tokens):
        alone = p_ibisa(conse.text, TEXTS[i : i + 1], h[i : i + 1], masks=4, steps=4, **options)
        assert alone.tokens == [words]
        assert torch.equal(together.map[i, : len(words)], alone.map[0])
    chunked = p_ibisa(conse.text, TEXTS, h, masks=4, steps=4, chunk=3, **options).map
    assert torch.allclose(together.map, chunked, atol=1e-3, equal_nan=True)


def test_another_image_is_another_map_of_the_text(conse):
    h = conse.encode_text(["a photo of a zebra", "a photo of a frog"])  # stand for two images
    maps = p_ibisa(conse.text, ["a zebra beside a frog"] * 2, h, masks=4)
    words = maps.tokens[0]
    zebra, frog = words.index("zebra"), words.index("frog")
    assert maps.map[0, zebra] > maps.map[0, frog] + 0.1
    assert maps.map[1, frog] > maps.map[1, zebra] + 0.1
    assert maps.unit == "mask value"
    assert maps.cost == dict(forwards=60, backwards=60)
    assert maps.trace["align"].shape == (15, 2, 4)
    assert (maps.trace["align"][-1].mean(1) < maps.trace["align"][0].mean(1)).all()


def test_special_tokens_stay_and_blanks_fill_what_goes(conse):
    text = conse.text
    ids, valid, _ = text.tokenize(TEXTS)
    none = torch.ones(ids.shape)
    none[:, 1] = 0  # the first word goes
    blanked = ids.clone()
    blanked[:, 1] = text.blank
    assert torch.allclose(
        text.encode_ids(ids, valid, none, text.blank), text.encode_ids(blanked, valid), atol=1e-6
    )
    assert torch.equal(
        text.encode_ids(ids, valid, torch.ones(ids.shape), text.blank), text.encode_ids(ids, valid)
    )
    half = text.parts.stem(
        ids, 0.5 * none
    )  # without `blank` an embedding is scaled, as RISE and NIB's protocol have it
    assert not torch.allclose(half, text.parts.stem(ids, 0.5 * none, text.blank))


def test_works_on_the_text_side_of_clip():
    model = xu.load_model("open_clip/ViT-B-32", device="cpu")
    h = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    a = p_ibisa(model.text, TEXTS[:2], h, masks=2, steps=2)
    assert [len(t) for t in a.tokens] == a.map.isfinite().sum(1).tolist()
    assert torch.equal(
        a.map[0, : len(a.tokens[0])], p_ibisa(model.text, TEXTS[:1], h[:1], masks=2, steps=2).map[0]
    )


def test_a_text_tower_without_splits_says_so(conse):
    with pytest.raises(ValueError, match="has no split"):
        p_ibisa(replace(conse.text, parts=None), ["a zebra"], torch.ones(1, 384))
