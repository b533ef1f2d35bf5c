"""The papers' own encoders. No weights are fetched: files of the published names are made here,
with random numbers."""

import argparse
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

import xai_utils as xu
from xai_utils.models.published import (
    CARRIED,
    CHECKPOINTS,
    INSTEAD,
    PAPER_NAMES,
    bare,
    weight_file,
)
from xai_utils.models.published import row_of as published_by

pytestmark = pytest.mark.slow

IMAGENET = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
HALF = ((0.5,) * 3, (0.5,) * 3)
# name -> D, classes, tokens of an image, blocks, (mean, std) of the authors' recipe
FACTS = {
    "vgg16": (4096, 1000, None, 5, IMAGENET),
    "resnet50": (2048, 1000, None, 4, IMAGENET),
    "vit-b-16": (768, 1000, (1, (14, 14)), 12, HALF),
    "dino-vit-b-16": (768, None, (1, (14, 14)), 12, IMAGENET),
    "dinov2-vit-b-14": (768, None, (1, (16, 16)), 12, IMAGENET),
    "beit-base": (768, 1000, (1, (14, 14)), 12, HALF),
    "barlow-twins-resnet50": (2048, None, None, 4, IMAGENET),
    "swav-resnet50": (2048, None, None, 4, (IMAGENET_DEFAULT_MEAN, (0.228, 0.224, 0.225))),
    "dino-resnet50": (2048, None, None, 4, IMAGENET),
    "ibot-vit-b-16": (768, None, (1, (14, 14)), 12, IMAGENET),
    "ibot-vit-s-16": (384, None, (1, (14, 14)), 12, IMAGENET),
}


@pytest.fixture
def weights(monkeypatch):
    """XAI_WEIGHTS, empty; no network and no hub's cache behind it."""

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XAI_WEIGHTS", folder)
        monkeypatch.setattr("torch.hub.urlopen", refuse)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", f"{folder}/hub")
        yield Path(folder)


def picture(n=1):
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def assert_splits(encoder, inputs, layers=None):
    h = encoder(inputs)
    for layer in layers or (0, encoder.default_layer, encoder.depth):
        split = encoder.split(layer)
        assert torch.equal(split.suffix(split.prefix(inputs)), h), f"{encoder.name}, layer {layer}"


def random_resnet() -> torch.nn.Module:
    """torchvision's ResNet-50 without its classifier, every number random."""
    model = torchvision.models.resnet50()
    model.fc = torch.nn.Identity()
    for value in model.state_dict().values():
        if value.ndim == 1:  # norms, with their means and variances
            value.uniform_(0.5, 1.0)
    return model.eval()


def random_ibot(width=384) -> dict:
    """The names and shapes of models/vision_transformer.py in iBOT's repository, num_classes=0."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
    }
    layers = {
        "norm1": (width,),
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "norm2": (width,),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    for i in range(12):
        for layer, shape in layers.items():
            shapes |= {f"blocks.{i}.{layer}.weight": shape, f"blocks.{i}.{layer}.bias": shape[:1]}
    return {name: torch.randn(shape) * 0.05 for name, shape in shapes.items()}


def swav_file(state: dict) -> dict:
    """The names that https://github.com/facebookresearch/swav/issues/109 lists beside the
    backbone's."""
    head = {
        f"projection_head.{i}": torch.randn(2)
        for i in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean")
    }
    head |= {
        f"projection_head.{i}": torch.randn(2)
        for i in ("1.running_var", "1.num_batches_tracked", "3.weight", "3.bias")
    }
    return {
        f"module.{k}": v for k, v in {**state, **head, "prototypes.weight": torch.randn(2)}.items()
    }


def test_the_table_knows_every_name():
    assert {*FACTS, "clip-vit-b-32"} == set(PAPER_NAMES)
    with pytest.raises(ValueError, match="unknown model 'swav': one of .*swav-resnet50"):
        xu.load_model("swav")


@torch.no_grad()
@pytest.mark.parametrize("name", FACTS)
def test_architecture_preprocessing_and_splits(name):
    dim, classes, tokens, depth, colours = FACTS[name]
    encoder = xu.load_model(name, pretrained="random", device="cpu")
    assert (encoder.name, encoder.dim, encoder.tokens, encoder.depth) == (name, dim, tokens, depth)
    assert (encoder.image_size, (encoder.mean, encoder.std)) == ((224, 224), colours)
    assert getattr(encoder.head, "out_features", None) == classes or encoder.head(
        torch.zeros(1, dim)
    ).shape == (1, classes)
    if name not in (
        "dino-vit-b-16",
        "ibot-vit-b-16",
    ):  # the same model as vit-b-16 but for its classifier
        assert_splits(
            encoder, picture(), layers=(1, 4) if name == "vgg16" else None
        )  # a second a pass


@torch.no_grad()
def test_clip_is_openais():
    dual = xu.load_model("clip-vit-b-32", pretrained="random", device="cpu")
    assert (dual.image.mean, dual.image.std) == (
        open_clip.OPENAI_DATASET_MEAN,
        open_clip.OPENAI_DATASET_STD,
    )
    assert dual.image.tokens == (1, (7, 7))
    assert isinstance(dual.image.parts.blocks[0].mlp.gelu, open_clip.transformer.QuickGELU)
    assert_splits(dual.image, picture())
    assert_splits(dual.text, ["a cat", "a man walks his dog"])


@pytest.mark.parametrize(
    ("name", "tag", "quick"),
    [("ViT-B-32", "openai", True), ("ViT-B-32", "laion2b_s34b_b79k", False)],
)
def test_open_clip_gets_the_activation_that_its_weights_were_trained_with(
    monkeypatch, name, tag, quick
):
    calls = []
    monkeypatch.setattr("xai_utils.models.fetch.hub_answers", lambda: True)
    monkeypatch.setattr(
        "open_clip.create_model", lambda *a, **options: calls.append(options) or open_clip.nowhere
    )
    with pytest.raises(AttributeError):
        xu.load_model(f"open_clip/{name}", pretrained=tag)
    assert calls[0]["force_quick_gelu"] is quick


@torch.no_grad()
def test_beit_splits_and_is_timms_own_forward():
    model = timm.create_model(
        "beit_base_patch16_224", depth=2, embed_dim=64, num_heads=2, use_abs_pos_emb=True
    ).eval()
    for p in model.parameters():
        p.uniform_(-0.1, 0.1)  # the position biases start at zero
    encoder, x = xu.wrap(model), picture(2)
    assert torch.allclose(
        encoder(x),
        model.forward_head(model.forward_features(x), pre_logits=True),
        rtol=1e-4,
        atol=1e-5,
    )
    assert torch.allclose(encoder.head(encoder(x)), model(x), rtol=1e-4, atol=1e-5)
    assert_splits(encoder, x)
    shared = timm.create_model(
        "beit_base_patch16_224",
        depth=2,
        embed_dim=64,
        num_heads=2,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
    )
    for p in shared.parameters():
        p.uniform_(-0.1, 0.1)
    assert_splits(xu.wrap(shared), x)  # its blocks are told the bias that they share


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_without_a_network_one_line_says_what_from_where_and_where_to_put_it(weights, name):
    with (
        torch.device("meta"),
        pytest.raises(FileNotFoundError, match=f"^cannot get {name} ") as caught,
    ):  # builds quickly
        xu.load_model(name)
    said = str(caught.value)
    where = (
        CHECKPOINTS[name].url
        if name in CHECKPOINTS
        else f"{huggingface_hub.constants.ENDPOINT}/timm/"
    )
    assert where in said
    assert f" at {weights}/{name}." in said
    assert "XAI_WEIGHTS" in said
    assert "\n" not in said
    assert not [f for f in weights.iterdir() if f.name != "hub"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["barlow-twins-resnet50", "swav-resnet50", "dino-resnet50"])
def test_published_resnets_are_torchvisions(weights, name):
    model = random_resnet()
    state = swav_file(model.state_dict()) if name == "swav-resnet50" else model.state_dict()
    torch.save(
        state, weights / f"{name}.pth", _use_new_zipfile_serialization=name != "swav-resnet50"
    )  # 2020: the old form
    encoder, x = xu.load_model(name, device="cpu"), picture()
    same = timm.create_model("resnet50", num_classes=0)
    same.load_state_dict(model.state_dict())
    assert torch.equal(encoder(x), xu.wrap(same)(x))
    assert torch.allclose(encoder(x), model(x), rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_published_ibot_is_timms_vit(weights):
    state = random_ibot()
    head = {
        f"head.{k}": torch.randn(2)
        for k in ("mlp.0.weight", "mlp.0.bias", "last_layer.weight_g", "last_layer.weight_v")
    }
    torch.save({"state_dict": {**state, **head}}, weights / "ibot-vit-s-16.pth")
    encoder, x = xu.load_model("ibot-vit-s-16", device="cpu"), picture()
    model = timm.create_model("vit_small_patch16_224", num_classes=0).eval()
    model.load_state_dict(state)
    assert torch.equal(encoder(x), xu.wrap(model)(x))
    assert torch.allclose(encoder(x), model(x), rtol=1e-4, atol=1e-5)
    assert (
        random_ibot(768).keys()
        == timm.create_model("vit_base_patch16_224", num_classes=0).state_dict().keys()
    )


def test_what_training_puts_around_the_weights_comes_off():
    a, b = torch.zeros(1), torch.ones(1)
    assert bare({"epoch": 3, "student": {}, "teacher": {"module.backbone.a": a, "head.b": b}}) == {
        "a": a,
        "head.b": b,
    }
    assert bare({"model": {"module.backbone.a": a}, "optimizer": {"state": {}}}) == {"a": a}
    assert bare({"state_dict": {"encoder.a": a, "encoder_b": b}}) == {"a": a, "encoder_b": b}
    assert bare([a]) == {}


@pytest.fixture
def small_row(weights, monkeypatch):
    """barlow-twins-resnet50 with a small architecture, and the file that fits it."""
    row = replace(CHECKPOINTS["barlow-twins-resnet50"], arch="resnet10t")
    monkeypatch.setitem(CHECKPOINTS, "barlow-twins-resnet50", row)
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    torch.save(state, weights / "barlow-twins-resnet50.pth")
    return state, weights / "barlow-twins-resnet50.pth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bn1.bias"), "missing: bn1.bias$"),
        (lambda s: s.update({"conv9.weight": torch.zeros(1)}), "unexpected: conv9.weight$"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), "of another shape: bn1.bias$"),
        (lambda s: s.update({"bn1.bias": 3}), "of another shape: bn1.bias$"),
        (lambda s: s.clear(), "missing: .*, .* and [0-9]+ more$"),
    ],
)
def test_a_file_that_does_not_fit_names_the_keys(small_row, change, message):
    state, path = small_row
    change(state)
    torch.save(state, path)
    with pytest.raises(
        ValueError, match=f"{re.escape(str(path))} does not fit resnet10t.*{message}"
    ):
        xu.load_model("barlow-twins-resnet50")


def test_a_file_cut_short_or_with_more_than_weights_in_it(small_row):
    state, path = small_row
    xu.load_model("barlow-twins-resnet50")
    whole = path.read_bytes()
    torch.save({"model": state, "args": argparse.Namespace(lr=1)}, path)
    odd = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>", odd):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"barlow-twins-resnet50 at .* cannot be read .*Remove the file"
        ) as caught:
            xu.load_model("barlow-twins-resnet50")
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content  # it is the user's


def test_a_download_gets_its_name_when_it_is_whole(small_row, monkeypatch):
    state, path = small_row
    whole, asked = path.read_bytes(), []

    def download(url, dst, progress):
        asked.append(url)
        Path(dst).write_bytes(whole[: len(whole) // 2] if len(asked) == 1 else whole)

    path.unlink()
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    with pytest.raises(
        FileNotFoundError, match="cannot get barlow-twins-resnet50 from https://.*cannot be read"
    ):
        xu.load_model("barlow-twins-resnet50")
    assert not list(path.parent.iterdir())
    first, again = (xu.load_model("barlow-twins-resnet50", device="cpu") for _ in range(2))
    assert [f.name for f in path.parent.iterdir()] == [path.name]
    for encoder in (first, again):
        assert all(torch.equal(w, state[k]) for k, w in encoder.weights.items())
    assert asked == [CHECKPOINTS["barlow-twins-resnet50"].url] * 2


@torch.no_grad()
def test_a_hubs_file_put_there_by_hand_is_taken(weights, monkeypatch):
    row = replace(
        CARRIED["dinov2-vit-b-14"],
        model="vit_small_patch14_dinov2.lvd142m",
        options={"img_size": 28, "depth": 1},
    )
    monkeypatch.setitem(CARRIED, "dinov2-vit-b-14", row)
    big = timm.create_model("vit_small_patch14_dinov2", img_size=56, depth=1)
    model = timm.create_model("vit_small_patch14_dinov2", img_size=28, depth=1)
    for source in (model, big):  # the second with its position embedding brought to size by timm
        save_file(source.state_dict(), weight_file("dinov2-vit-b-14"))
        encoder = xu.load_model("dinov2-vit-b-14", device="cpu")
        assert encoder.tokens == (1, (2, 2))
        same = encoder.weights["blocks.0.attn.qkv.weight"]
        assert torch.equal(same, source.blocks[0].attn.qkv.weight)
    weight_file("dinov2-vit-b-14").write_bytes(b"cut short")
    with pytest.raises(
        ValueError,
        match="dinov2-vit-b-14.safetensors does not hold the weights of vit_small_patch14",
    ):
        xu.load_model("dinov2-vit-b-14")


def test_clips_file_put_there_by_hand_is_taken(weights, monkeypatch):
    weight_file("clip-vit-b-32").write_bytes(b"cut short")
    with pytest.raises(
        ValueError,
        match="clip-vit-b-32.safetensors does not hold the weights of open_clip/ViT-B-32",
    ):
        xu.load_model("clip-vit-b-32")
    loaded = []
    monkeypatch.setattr(
        "open_clip.factory.load_checkpoint",
        lambda model, path, **options: loaded.append((model, path)),
    )
    dual = xu.load_model("clip-vit-b-32", device="cpu")
    assert loaded[0][1] == str(weight_file("clip-vit-b-32"))
    assert dual.image.mean == open_clip.OPENAI_DATASET_MEAN


def test_pretrained_is_none_or_random_for_a_papers_name():
    for name in ("swav-resnet50", "vgg16"):
        with pytest.raises(
            ValueError, match=f"pretrained must be None .* or \"random\" for {name}, got 'yes'"
        ):
            xu.load_model(name, pretrained="yes")
    x = picture()
    one, two = (xu.load_model("swav-resnet50", pretrained="random", device="cpu") for _ in range(2))
    assert torch.equal(one(x), two(x))
    one, two = (
        xu.load_model("timm/resnet18", pretrained=p, device="cpu") for p in ("random", None)
    )
    assert torch.equal(one(x), two(x))


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    constants, asked = huggingface_hub.constants, []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    class Session:
        def head(self, url, timeout):
            asked.append(url)
            raise ConnectionError("no route to host")

    def create(*args, **kwargs):
        raise OSError(f"offline {constants.HF_HUB_OFFLINE}")

    monkeypatch.setattr("huggingface_hub.get_session", Session)
    monkeypatch.setattr("timm.create_model", create)
    with pytest.raises(FileNotFoundError, match="offline True"):
        xu.load_model("timm/resnet18", pretrained="yes")
    with pytest.raises(FileNotFoundError, match="offline False"):  # random weights: nobody is asked
        xu.load_model("timm/resnet18")
    assert asked == [constants.ENDPOINT]
    assert constants.HF_HUB_OFFLINE is False


# --- the authors' files by the names of their weights


def random_dino_head(front: str = "") -> dict:
    """DINOHead's names in facebookresearch/dino vision_transformer.py, weight norm and all."""
    names = [f"mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")]
    names += ["last_layer.weight_g", "last_layer.weight_v"]
    return {f"{front}{name}": torch.randn(2) for name in names}


def in_front(front: str, state: dict) -> dict:
    return {f"{front}{k}": v for k, v in state.items()}


@pytest.fixture
def small(weights, monkeypatch):
    """Every checkpoint's name with a small architecture of its kind, and random weights for it."""

    def prepared(name):
        row = published_by(name)
        resnet = row.arch == "resnet50"
        monkeypatch.setitem(
            CHECKPOINTS if name in CHECKPOINTS else INSTEAD,
            name,
            replace(row, arch="resnet18" if resnet else "vit_tiny_patch16_224"),
        )
        model = timm.create_model(published_by(name).arch, num_classes=0).eval()
        for value in model.state_dict().values():
            if value.is_floating_point():  # norms, with their variances, stay positive
                value.uniform_(0.5, 1.0) if value.ndim == 1 else value.uniform_(-0.1, 0.1)
        return model, weights

    return prepared


DINO_FULL = {"optimizer": {"state": {}}, "epoch": 100, "dino_loss": {"center": torch.zeros(1, 2)}}
# how the authors' repositories save: name -> what their file holds beside or around the weights
DISTRIBUTED = {
    "barlow-twins-resnet50": {
        "the network": lambda w: w,
        "the checkpoint": lambda w: {
            "epoch": 1000,
            "model": in_front("module.backbone.", w)
            | in_front("module.projector.", {"0.weight": torch.zeros(2)})
            | in_front("module.bn.", {"running_mean": torch.zeros(2)}),
            "optimizer": {"state": {}},
        },
        "with a classifier": lambda w: (
            w | {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
        ),
    },
    "swav-resnet50": {
        "the weights": swav_file,
        "the checkpoint": lambda w: {"epoch": 800, "state_dict": swav_file(w), "optimizer": {}},
    },
    "dino-resnet50": {
        "the backbone": lambda w: w,
        "the checkpoint": lambda w: {
            "student": in_front("module.backbone.", {k: v * 0 for k, v in w.items()}),
            "teacher": in_front("backbone.", w) | random_dino_head("head."),
            **DINO_FULL,
        },
    },
    "dino-vit-b-16": {
        "the backbone": lambda w: w,
        "the checkpoint": lambda w: {
            "student": in_front("module.backbone.", {k: v * 0 for k, v in w.items()}),
            "teacher": in_front("backbone.", w) | random_dino_head("head."),
            **DINO_FULL,
        },
    },
    "ibot-vit-b-16": {
        "the teacher": lambda w: {"state_dict": w},
        "extracted": lambda w: w,
        "with the token of masked patches": lambda w: {
            "state_dict": w | {"masked_embed": torch.zeros(1, 2)}
        },
        "the checkpoint": lambda w: {
            "student": in_front("module.backbone.", w | {"masked_embed": torch.zeros(1, 2)}),
            "teacher": in_front("backbone.", w)
            | random_dino_head("head.")
            | {"head.last_layer2.weight_g": torch.zeros(2)},
            "ibot_loss": {"center": torch.zeros(1, 2)},
        },
    },
}
DISTRIBUTED["ibot-vit-s-16"] = DISTRIBUTED["ibot-vit-b-16"]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, forms in DISTRIBUTED.items() for form in forms]
)
def test_each_form_of_an_authors_file_gives_the_model_it_was_made_of(small, name, form):
    model, folder = small(name)
    torch.save(DISTRIBUTED[name][form](model.state_dict()), folder / f"{name}.pth")
    encoder, x = xu.load_model(name, device="cpu"), picture()
    assert torch.equal(encoder(x), xu.wrap(model)(x))
    assert (encoder.mean, encoder.std) == FACTS[name][4]
    assert encoder.name == name


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("swav-resnet50", "swav_800ep_pretrain.pth.tar"),
        ("dino-resnet50", "dino_resnet50_pretrain.pth"),
        ("dino-vit-b-16", "dino_vitbase16_pretrain.pth"),
    ],
)
def test_a_file_is_found_by_its_authors_name(small, name, file):
    model, folder = small(name)
    assert published_by(name).url.endswith(f"/{file}")
    torch.save(model.state_dict(), folder / file)
    assert weight_file(name) == folder / file
    x = picture()
    assert torch.equal(xu.load_model(name, device="cpu")(x), xu.wrap(model)(x))
    torch.save({k: v * 0 for k, v in model.state_dict().items()}, folder / f"{name}.pth")
    assert weight_file(name) == folder / f"{name}.pth"  # the kit's own name comes first
    assert not torch.equal(xu.load_model(name, device="cpu")(x), xu.wrap(model)(x))


def test_dinos_own_vit_has_the_names_and_shapes_of_timms():
    with torch.device("meta"):
        timms = timm.create_model("vit_base_patch16_224.dino").state_dict()
        ours = timm.create_model(published_by("dino-vit-b-16").arch, num_classes=0).state_dict()
        theirs = random_ibot(768)  # whose ViT is DINO's, vision_transformer.py of both
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in timms.items()}
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}


def damaged(name, model, path):
    """Kinds of damage to a whole file: what is done to it, and what the error says."""
    state = model.state_dict()
    whole = path.read_bytes()
    first = next(iter(state))
    return {
        "cut short": (lambda: path.write_bytes(whole[: len(whole) // 2]), "cannot be read"),
        "cut at its end": (lambda: path.write_bytes(whole[:-20]), "cannot be read"),
        "empty": (lambda: path.write_bytes(b""), "cannot be read"),
        "a page of HTML": (lambda: path.write_bytes(b"<html>"), "cannot be read"),
        "a key is missing": (
            lambda: torch.save({k: v for k, v in state.items() if k != first}, path),
            f"missing: {re.escape(first)}$",
        ),
        "another shape": (
            lambda: torch.save(state | {first: torch.zeros(2, 7)}, path),
            f"of another shape: {re.escape(first)}$",
        ),
        "another architecture": (
            lambda: torch.save(in_front("features.", state), path),
            "missing: .* more; unexpected: features.* more$",
        ),
        "under another key": (
            lambda: torch.save({"net": state}, path),
            r"unexpected: net \(weights are looked for in state_dict, teacher, model\)$",
        ),
        "two networks in one": (
            lambda: torch.save(in_front("module.", state) | in_front("encoder.", state), path),
            f"holds two weights for {re.escape(first)}",
        ),
        "arguments beside the weights": (
            lambda: torch.save({"teacher": state, "args": argparse.Namespace(lr=1)}, path),
            r"cannot be read \(it holds argparse.Namespace, which is not run\)",
        ),
        "a whole module": (
            lambda: torch.save(torch.nn.ReLU(), path),
            "cannot be read .*it holds torch.nn.modules.activation.ReLU, which is not run",
        ),
        "a list": (lambda: torch.save([*state.values()], path), "missing: .* more$"),
    }


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_every_kind_of_damage_is_one_clear_error(small, name):
    model, folder = small(name)
    path = folder / f"{name}.pth"
    torch.save(model.state_dict(), path)
    for kind, (damage, message) in damaged(name, model, path).items():
        damage()
        with pytest.raises(ValueError, match=message) as caught:
            xu.load_model(name, device="cpu")
        said = str(caught.value)
        assert str(path) in said and name in said, kind
        assert "\n" not in said and "\x1b" not in said, kind


class Code:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(small, zipped):
    model, folder = small("swav-resnet50")
    state = model.state_dict() | {"hook": Code(str(folder / "ran"))}
    path = folder / "swav-resnet50.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="it holds .*open, which is not run"):
        xu.load_model("swav-resnet50")
    assert not (folder / "ran").exists()
