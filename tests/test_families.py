"""Every family of image models that the kit knows: its embedding, its logits and its splits."""

import pickle

import families
import open_clip
import pytest
import timm
import torch
from encoders_table import FILE, table
from families import settled
from torch import nn
from torchvision import models as tv
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import xai_utils as xu
from xai_utils.models.clip import OPEN_CLIP_LAYOUT, image_tower
from xai_utils.models.timm_families import NO_SPLIT, TIMM_LAYOUT
from xai_utils.models.torchvision_models import TORCHVISION_LAYOUT, published, recipe

pytestmark = pytest.mark.slow

MEMBERS = (
    [("timm", family) for family in families.TIMM]
    + [("torchvision", family) for family in families.TORCHVISION]
    + [("open_clip", kind) for kind in families.OPEN_CLIP]
)
BUILD = dict(
    timm=families.timm_model,
    torchvision=families.torchvision_model,
    open_clip=families.open_clip_model,
)


class Tokenizer:
    """Words of CLIP's tokenizer, without its file."""

    eot_token_id = 2

    def __call__(self, texts):
        return torch.tensor([[1, 5, 6, 49407] + [0] * 73 for _ in texts])

    def decode(self, ids):
        return str(ids)


def wrapped(library: str, model: nn.Module):
    if library == "open_clip":
        return xu.wrap(model, tokenizer=Tokenizer()).image
    return xu.wrap(model)


def library_output(library: str, model: nn.Module, x):
    """(embedding, logits) as the library itself gives them; None for what it does not have."""
    if library == "open_clip":
        h = model.encode_image(x)
        return (h[0] if isinstance(h, tuple) else h).reshape(len(x), -1), None
    if library == "timm":
        h = model.forward_head(model.forward_features(x), pre_logits=True)
        return h.flatten(1), model(x)
    node = [n for n in get_graph_node_names(model)[1] if not n.startswith("head")][-1]
    if not isinstance(model, (tv.VisionTransformer, tv.SwinTransformer)):
        node = get_graph_node_names(model)[1][-2]  # what enters the last layer
    if isinstance(model, tv.SqueezeNet):
        return model(x), model(x)
    return create_feature_extractor(model, [node])(x)[node].flatten(1), model(x)


def close(a, b, at_most=1e-5) -> bool:
    """Equal to 1e-5 of the largest value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= at_most * b.abs().max())


def pictures(encoder, n=2):
    x = torch.randn(n, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    return x.to(encoder.dtype)


def assert_splits(encoder, x, h):
    deep = encoder.depth > 7
    some = {0, encoder.depth // 2, encoder.depth}
    for layer in some if deep else range(encoder.depth + 1):
        split = encoder.split(layer)
        z = split.prefix(x)
        before = z.clone()
        assert torch.equal(split.suffix(z), h), f"layer {layer}"
        assert torch.equal(z, before), f"layer {layer} is overwritten"
        if encoder.tokens is None:
            assert z.ndim == 4
            scores = z[:, 0]
        else:
            extra, (rows, columns) = encoder.tokens
            assert z.shape[:2] == (len(x), extra + rows * columns)
            scores = z[..., 0]
        assert split.to_map(scores).shape == (len(x), *encoder.image_size)


def test_every_row_has_a_member():
    assert set(families.TIMM) == set(TIMM_LAYOUT) | set(NO_SPLIT)
    assert not set(TIMM_LAYOUT) & set(NO_SPLIT)
    assert set(families.TORCHVISION) == set(TORCHVISION_LAYOUT)
    assert {k.split(",")[0] for k in families.OPEN_CLIP} == {*OPEN_CLIP_LAYOUT, "TimmModel"}


@pytest.mark.parametrize(("library", "family"), MEMBERS)
def test_family(library, family):
    model = BUILD[library](family)
    encoder = wrapped(library, model)  # shares its weights and batch statistics
    if library != "open_clip":
        settled(model, pictures(encoder))
    x = pictures(encoder)
    with torch.no_grad():
        h = encoder(x)
        same = x.contiguous(memory_format=torch.channels_last) if encoder.channels_last else x
        embedding, logits = library_output(library, model, same)
        assert close(h, embedding)
        assert encoder.head is None or close(encoder.head(h), logits)
        if library == "timm" and family in NO_SPLIT:
            assert encoder.parts is None and encoder.no_split == NO_SPLIT[family]
            with pytest.raises(ValueError, match="has no split"):
                encoder.split(0)
        else:
            assert encoder.depth > 0, encoder.no_split
            assert_splits(encoder, x, h)
            parts, head = pickle.loads(pickle.dumps((encoder.parts, encoder.head)))
            z = parts.stem(same)
            for block in parts.blocks:
                z = block(z)
            assert torch.equal(parts.tail(z), h)
    x, direction = x.requires_grad_(), torch.randn(h.shape)
    (gradient,) = torch.autograd.grad((encoder(x) * direction).sum(), x)
    assert gradient.isfinite().all() and bool(gradient.flatten(1).any(1).all())


VIT = dict(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=5)
EVA = VIT | dict(use_rot_pos_emb=True, attn_type="rope", dynamic_img_size=False)
VARIANTS = {
    "token": ("VisionTransformer", dict(global_pool="token"), True),
    "average": ("VisionTransformer", dict(global_pool="avg", fc_norm=False), True),
    "average, then norm": ("VisionTransformer", dict(global_pool="avg"), False),
    "average and maximum": ("VisionTransformer", dict(global_pool="avgmax"), False),
    "map": ("VisionTransformer", dict(global_pool="map"), False),
    "registers": ("VisionTransformer", dict(reg_tokens=3, no_embed_class=True), True),
    "no class token": (
        "VisionTransformer",
        dict(class_token=False, global_pool="avg", fc_norm=False),
        True,
    ),
    "any size": ("VisionTransformer", dict(dynamic_img_size=True), True),
    "not square": ("VisionTransformer", dict(img_size=(32, 64)), True),
    "norm in front": ("VisionTransformer", dict(pre_norm=True), True),
    "EVA": ("Eva", dict(global_pool="token"), True),
    "EVA02": ("Eva", dict(use_rot_pos_emb=True, swiglu_mlp=True, scale_mlp=True), False),
    "DINOv3": (
        "Eva",
        dict(use_rot_pos_emb=True, rope_type="dinov3", use_abs_pos_emb=False, num_reg_tokens=4)
        | dict(attn_type="rope", rope_rotate_half=True, global_pool="token"),
        True,
    ),
    "PE": (
        "Eva",
        dict(use_rot_pos_emb=True, global_pool="map", use_pre_transformer_norm=True),
        False,
    ),
    "a rotation per block": (
        "Eva",
        dict(use_rot_pos_emb=True, rope_type="mixed", attn_type="rope", global_pool="token"),
        True,
    ),
    "EVA of any size": (
        "Eva",
        dict(use_rot_pos_emb=True, dynamic_img_size=True, img_size=(32, 48), global_pool="token"),
        True,
    ),
}


@torch.no_grad()
@pytest.mark.parametrize(("family", "more", "linear"), VARIANTS.values(), ids=VARIANTS)
def test_vision_transformers_of_timm(family, more, linear):
    torch.manual_seed(0)
    module = timm.models.eva if family == "Eva" else timm.models.vision_transformer
    model = getattr(module, family)(**VIT | more).eval()
    nn.init.normal_(model.head.weight)
    encoder = xu.wrap(model)
    x = pictures(encoder)
    h = encoder(x)
    assert close(h, model.forward_head(model.forward_features(x), pre_logits=True))
    assert close(encoder.head(h), model(x))
    assert encoder.tokens[0] == model.num_prefix_tokens
    assert_splits(encoder, x, h)
    assert (encoder.parts.last is not None) == linear
    if linear:
        norm, readout = encoder.parts.last
        z = encoder.split(encoder.depth).prefix(x)
        assert torch.equal(readout(norm(z)), h)


def test_checkpointing_is_left_to_the_model():
    model = families.timm_model("Eva")
    model.set_grad_checkpointing()
    encoder = xu.wrap(model)
    x = pictures(encoder).requires_grad_()
    assert torch.autograd.grad(encoder(x).square().sum(), x)[0].abs().max() > 0
    assert model.grad_checkpointing


@torch.no_grad()
def test_patches_beyond_the_picture_have_no_map():
    small = VIT | dict(img_size=30, dynamic_img_size=True, dynamic_img_pad=True)
    encoder = xu.wrap(timm.models.vision_transformer.VisionTransformer(**small))
    assert encoder(pictures(encoder)).shape == (2, 16)
    with pytest.raises(ValueError, match="multiple of the patch"):
        encoder.split(0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: timm.create_model("test_vit", features_only=True), "model is made with features"),
        (
            lambda: timm.create_model("test_vit", num_classes=0, global_pool=""),
            r"model must give one vector \(B, D\).*reset_classifier",
        ),
        (
            lambda: timm.create_model("test_resnet", num_classes=0, global_pool=""),
            r"model must give one vector \(B, D\).*reset_classifier",
        ),
        (lambda: timm.create_model("test_vit", in_chans=1), r"model must take pictures \(B, 3, "),
        (
            lambda: timm.create_model("hiera_tiny_224", img_size=64, embed_dim=16, num_heads=1),
            "pretrained_cfg_overlay",
        ),
        (
            lambda: tv.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None),
            "model must give one vector per picture, torchvision's SSD gives boxes",
        ),
        (
            lambda: tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
            "LRASPP gives a map of classes",
        ),
        (lambda: tv.video.r3d_18(), "VideoResNet takes films"),
        (lambda: tv.optical_flow.raft_small(), "RAFT takes two pictures"),
    ],
)
def test_what_is_no_encoder_says_so(build, message):
    with pytest.raises(ValueError, match=message):
        xu.wrap(build())


@torch.no_grad()
def test_the_head_of_a_convolution_takes_embeddings():
    encoder = xu.wrap(families.timm_model("DLA"))
    assert encoder.head.weight.shape == (1000, encoder.dim)
    assert encoder.head(torch.zeros(3, encoder.dim)).shape == (3, 1000)


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("resnet18", 224, 0.485),
        ("efficientnet_b1", 240, 0.485),
        ("efficientnet_v2_l", 480, 0.5),
        ("swin_v2_t", 256, 0.485),
    ],
)
def test_torchvision_weights_decide_size_and_colours(name, size, mean):
    with torch.device("meta"):
        model = tv.get_model(name)
        head = model.fc if name == "resnet18" else list(model.children())[-1]
        head = head[-1] if isinstance(head, nn.Sequential) else head
    own_size, own_mean, _ = recipe(model, head)
    assert own_size == (size, size) and own_mean[0] == mean


def test_every_torchvision_weight_is_met():
    """Size, mean and std of every weight are those of its own transforms."""
    for family in TORCHVISION_LAYOUT:
        for _, classes, side, mean, std in published(family):
            assert classes == 1000 and side >= 224 and len(mean) == len(std) == 3


@torch.no_grad()
@pytest.mark.parametrize("kind", ["identity", "chain", "other"])
def test_a_replaced_torchvision_classifier(kind):
    model = families.torchvision_model("ResNet")
    width = model.fc.in_features
    model.fc = dict(
        identity=nn.Identity(),
        chain=nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3)),
        other=nn.Sequential(nn.Linear(width, 3), nn.LogSoftmax(1)),
    )[kind]
    encoder = xu.wrap(model)
    x = pictures(encoder, 1)
    h = encoder(x)
    assert encoder.dim == dict(identity=width, chain=8, other=width)[kind]
    assert encoder.depth == 4
    assert close(encoder.head(h) if encoder.head else h, model(x))


class Vit(timm.models.vision_transformer.VisionTransformer):
    """A subclass that pools in forward_features, as that of MAE does."""

    def forward_features(self, x, **more):
        return super().forward_features(x)[:, 0]

    def forward_head(self, x, pre_logits=False):
        return x if pre_logits else self.head(x)


@torch.no_grad()
def test_own_models_made_of_timms():
    model = families.timm_model("ResNet")
    model.fc = nn.Identity()
    assert xu.wrap(model).head is None
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(96, 3))
    encoder = xu.wrap(model)
    x = pictures(encoder)
    assert close(encoder.head(encoder(x)), model.eval()(x), 1e-4)
    own = Vit(**VIT).eval()
    encoder = xu.wrap(own)
    x = pictures(encoder)
    assert close(encoder(x), own.forward_features(x))
    with pytest.raises(ValueError, match="has no split: its"):
        encoder.split(0)


@torch.no_grad()
@pytest.mark.parametrize("around", ["DataParallel", "compile", "average"])
def test_what_only_runs_a_model_is_taken_off(around):
    model = families.timm_model("ResNet")
    put = dict(
        DataParallel=nn.DataParallel,
        compile=torch.compile,
        average=torch.optim.swa_utils.AveragedModel,
    )[around]
    encoder = xu.wrap(put(model))
    x = pictures(encoder)
    assert encoder.depth == 4
    assert torch.equal(encoder(x), xu.wrap(model)(x))


HALF = ["ResNet", "ConvNeXt", "VisionTransformer", "Eva", "SwinTransformer", "MlpMixer", "Beit"]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("family", HALF)
def test_other_precisions_of_timm(family, dtype):
    model = families.timm_model(family).to(dtype)
    encoder = xu.wrap(model)
    assert encoder.dtype == dtype and encoder.depth > 1
    x = pictures(encoder)
    h = encoder(x)
    assert close(h.double(), model.forward_head(model.forward_features(x), True).double(), 0.02)
    split = encoder.split(1)
    assert torch.equal(split.suffix(split.prefix(x)), h)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["VisionTransformer", "VisionTransformer, mean", "ModifiedResNet"])
def test_half_precision_of_open_clip(kind, dtype):
    model = families.open_clip_model(kind, cast_dtype=dtype)
    open_clip.convert_weights_to_lp(model, dtype=dtype)  # as create_model(precision=...) does it
    encoder = image_tower(model, "half")
    assert encoder.dtype == dtype and encoder.depth > 1
    x = pictures(encoder)
    h = encoder(x)
    own = model.encode_image(x)
    assert close(h.float(), (own[0] if isinstance(own, tuple) else own).float(), 0.02)
    split = encoder.split(1)
    assert torch.equal(split.suffix(split.prefix(x)), h)


def test_an_open_clip_tower_without_pooling_is_refused():
    tower = families.VIT | dict(pool_type="none")
    model = open_clip.model.CLIP(16, tower, families.TEXT)
    with pytest.raises(ValueError, match=r"model must give one vector \(B, D\)"):
        wrapped("open_clip", model)


@torch.no_grad()
def test_coca_is_not_normalised():
    torch.manual_seed(0)
    tower = families.OPEN_CLIP["VisionTransformer, CoCa"]
    text = families.TEXT | dict(embed_cls=True, output_tokens=True)
    decoder = dict(context_length=76, width=16, heads=2, layers=1)
    model = open_clip.coca_model.CoCa(16, decoder, text, tower).eval()
    encoder = wrapped("open_clip", model)
    x = pictures(encoder)
    assert close(encoder(x), model.encode_image(x, normalize=False))
    assert_splits(encoder, x, encoder(x))


def test_the_page_about_encoders_is_what_the_tables_say():
    assert FILE.read_text() == table(), "run python tests/encoders_table.py"
