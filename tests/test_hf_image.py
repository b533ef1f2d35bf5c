"""Image models of transformers as encoders, from small configurations with random weights."""

import pickle
from dataclasses import replace
from functools import cache, partial

import open_clip
import pytest
import torch
import transformers
from planted import seeded, small_bert, tokenizer
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

import xai_utils as xu
from xai_utils.methods import m2ib, nib
from xai_utils.models.hf_image import image_encoder
from xai_utils.models.weights import own_weights, weight_groups
from xai_utils.models.wrapping import frozen
from xai_utils.types import DualEncoder

pytestmark = pytest.mark.slow

VIT = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=48,
    image_size=32,
    patch_size=8,
)
NAFLEX = {k: v for k, v in VIT.items() if k != "image_size"} | {"num_patches": 16}
TEXT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
TEXT |= dict(vocab_size=99, max_position_embeddings=16, bos_token_id=0, eos_token_id=1)
CNN = dict(hidden_sizes=[8, 16], depths=[1, 2], image_size=32)
BEIT = VIT | dict(layer_scale_init_value=0.1, use_relative_position_bias=True)
ONE_BIAS = VIT | dict(use_shared_relative_position_bias=True, use_mean_pooling=False)
LABELS = dict(num_labels=5)

# name of the test: model, configuration and its options
MODELS = {
    "clip": ("CLIPModel", "CLIP", dict(text_config=TEXT, vision_config=VIT, projection_dim=24)),
    "clip tower": ("CLIPVisionModel", "CLIPVision", VIT),
    "clip projected": (
        "CLIPVisionModelWithProjection",
        "CLIPVision",
        VIT | {"projection_dim": 24},
    ),
    "clip classifier": (
        "CLIPForImageClassification",
        "CLIP",
        dict(text_config=TEXT, vision_config=VIT, **LABELS),
    ),
    "metaclip 2": (
        "MetaClip2Model",
        "MetaClip2",
        dict(text_config=TEXT, vision_config=VIT, projection_dim=24),
    ),
    "siglip": ("SiglipModel", "Siglip", dict(text_config=TEXT, vision_config=VIT)),
    "siglip tower": ("SiglipVisionModel", "SiglipVision", VIT),
    "siglip classifier": (
        "SiglipForImageClassification",
        "Siglip",
        dict(text_config=TEXT, vision_config=VIT, **LABELS),
    ),
    "siglip 2": ("Siglip2Model", "Siglip2", dict(text_config=TEXT, vision_config=NAFLEX)),
    "siglip 2 tower": ("Siglip2VisionModel", "Siglip2Vision", NAFLEX),
    "siglip 2 classifier": (
        "Siglip2ForImageClassification",
        "Siglip2",
        dict(text_config=TEXT, vision_config=NAFLEX, **LABELS),
    ),
    "vit": ("ViTModel", "ViT", VIT),
    "vit classifier": ("ViTForImageClassification", "ViT", VIT | LABELS),
    "deit": ("DeiTModel", "DeiT", VIT),
    "deit classifier": ("DeiTForImageClassification", "DeiT", VIT | LABELS),
    "deit distilled": ("DeiTForImageClassificationWithTeacher", "DeiT", VIT | LABELS),
    "beit": ("BeitModel", "Beit", BEIT),
    "beit, one bias": ("BeitModel", "Beit", ONE_BIAS),
    "beit classifier": ("BeitForImageClassification", "Beit", BEIT | LABELS),
    "dinov2": ("Dinov2Model", "Dinov2", VIT),
    "dinov2 classifier": ("Dinov2ForImageClassification", "Dinov2", VIT | LABELS),
    "dinov2 registers": ("Dinov2WithRegistersModel", "Dinov2WithRegisters", VIT),
    "dinov2 registers classifier": (
        "Dinov2WithRegistersForImageClassification",
        "Dinov2WithRegisters",
        VIT | LABELS,
    ),
    "dinov3": ("DINOv3ViTModel", "DINOv3ViT", VIT | {"num_register_tokens": 3}),
    "dinov3 cnn": ("DINOv3ConvNextModel", "DINOv3ConvNext", CNN),
    "resnet": ("ResNetModel", "ResNet", CNN | {"embedding_size": 8}),
    "resnet classifier": (
        "ResNetForImageClassification",
        "ResNet",
        CNN | LABELS | {"embedding_size": 8},
    ),
    "convnext": ("ConvNextModel", "ConvNext", CNN | {"num_stages": 2}),
    "convnext classifier": (
        "ConvNextForImageClassification",
        "ConvNext",
        CNN | LABELS | {"num_stages": 2},
    ),
    "convnext 2": ("ConvNextV2Model", "ConvNextV2", CNN | {"num_stages": 2}),
    "convnext 2 classifier": (
        "ConvNextV2ForImageClassification",
        "ConvNextV2",
        CNN | LABELS | {"num_stages": 2},
    ),
}
TOKENS = [n for n in MODELS if n.split()[0] not in ("resnet", "convnext") and n != "dinov3 cnn"]
NOT_SQUARE = ["vit", "deit classifier", "deit distilled", "beit", "dinov3", "convnext", "resnet"]
CURVED = ["siglip", "siglip tower", "siglip 2", "siglip 2 tower", "vit", "deit", "beit"]
CURVED += ["beit classifier"]  # what stands behind their last norm is not linear
every = pytest.mark.parametrize("name", MODELS)


def made(kind: str, config: str, options: dict, **more) -> nn.Module:
    """A model with normal weights around 0, scales around 1, so that no bias and no table is 0."""

    def make():
        settings = getattr(transformers, f"{config}Config")(**options)
        model = getattr(transformers, kind)(settings, **more)
        for n, p in model.named_parameters():
            scale = p.ndim == 1 and "bias" not in n
            p.data.normal_(float(scale), 0.2)
        return model

    return seeded(make).eval()


@cache
def model_of(name: str) -> nn.Module:
    return made(*MODELS[name])


@cache
def encoder_of(name: str):
    return image_encoder(frozen(model_of(name)), name=name)


def pictures(size=(32, 32), n=3):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(0))


def arguments(model, x) -> dict:
    """SigLIP 2 takes the patches of its image processor."""
    if "Siglip2" not in type(model).__name__:
        return dict(pixel_values=x)
    from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

    patches = torch.stack([convert_image_to_patches(one, 8) for one in x])
    shapes = torch.tensor([[n // 8 for n in x.shape[-2:]]] * len(x))
    mask = torch.ones(patches.shape[:2], dtype=torch.int32)
    return dict(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes)


def own(model, x):
    """What the library itself calls the image embedding, or the logits of a classifier."""
    if hasattr(model, "get_image_features"):
        return model.get_image_features(**arguments(model, x)).pooler_output
    out = model(**arguments(model, x))
    found = [out.get(field) for field in ("logits", "image_embeds", "pooler_output")]
    return next(h for h in found if h is not None).flatten(1)


def same_as_own(encoder, model, x, **tolerance):
    h = encoder(x)
    h = h if encoder.head is None else encoder.head(h)
    torch.testing.assert_close(h.float(), own(model, x).float(), **tolerance)


def cut_everywhere(encoder, x):
    h = encoder(x)
    for layer in range(encoder.depth + 1):
        split = encoder.split(layer)
        assert torch.equal(split.suffix(split.prefix(x)), h), f"{encoder.name}, layer {layer}"


@every
@torch.no_grad()
def test_the_embedding_is_the_librarys_own(name):
    encoder, model = encoder_of(name), model_of(name)
    same_as_own(encoder, model, pictures(), rtol=1e-5, atol=1e-5)
    assert encoder.dim == encoder(pictures()).shape[1]
    assert (encoder.head is not None) == ("ForImageClassification" in type(model).__name__)
    assert encoder(pictures()).std(0).max() > 1e-3  # it depends on the picture


@every
@torch.no_grad()
def test_every_layer_can_be_cut(name):
    encoder = encoder_of(name)
    assert encoder.depth == 2 and len(encoder.parts.modules) == 2
    cut_everywhere(encoder, pictures())
    z = encoder.split(1).prefix(pictures())
    assert z.ndim == (3 if name in TOKENS else 4)


@every
def test_a_gradient_reaches_the_picture(name):
    encoder, x = encoder_of(name), pictures().requires_grad_()
    (g,) = torch.autograd.grad(encoder(x).square().sum(), x)
    assert torch.isfinite(g).all() and g.abs().amax((1, 2, 3)).min() > 0


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@torch.no_grad()
def test_other_precisions(name, dtype):
    model = made(*MODELS[name]).to(dtype)
    encoder, x = image_encoder(frozen(model), name=name), pictures().to(dtype)
    assert encoder.dtype == dtype and encoder.parts is not None
    close = 1e-5 if dtype == torch.float64 else 0.02
    same_as_own(encoder, model, x, rtol=close, atol=close)
    cut_everywhere(encoder, x)


@every
def test_a_map_has_the_pictures_size_and_its_places(name):
    encoder = encoder_of(name)
    assert encoder.image_size == (32, 32)
    split = encoder.split(0)
    with torch.no_grad():
        z = split.prefix(pictures(n=1))
    if encoder.tokens is None:
        assert split.to_map(z.mean(1)).shape == (1, 32, 32)
        return
    extra, grid = encoder.tokens
    assert grid == (4, 4) and z.shape[1] == extra + 16
    with torch.no_grad():  # the place that a patch of the picture has among the tokens
        x = pictures(n=1)
        x[..., 8:16, 16:24] += 1
        moved = (encoder.split(0).prefix(x) - z).abs().sum(-1)
    map = split.to_map(moved)[0]
    assert map[8:16, 16:24].mean() > 4 * map.mean() > 0


@every
@torch.no_grad()
def test_it_can_be_pickled(name):
    encoder = encoder_of(name)
    again = pickle.loads(pickle.dumps(replace(encoder, transform=None)))
    x = pictures()
    assert torch.equal(again(x), encoder(x)) and torch.equal(again.whole(x), encoder.whole(x))
    if encoder.head is not None:
        assert torch.equal(again.head(again(x)), encoder.head(encoder(x)))


@pytest.mark.parametrize("name", NOT_SQUARE)
@torch.no_grad()
def test_pictures_that_are_not_square(name):
    kind, config, options = MODELS[name]
    model = made(kind, config, options | {"image_size": (32, 48)})
    encoder = image_encoder(frozen(model), name=name)
    x = pictures((32, 48))
    same_as_own(encoder, model, x, rtol=1e-5, atol=1e-5)
    cut_everywhere(encoder, x)
    assert encoder.tokens is None or encoder.tokens[1] == (4, 6)
    with pytest.raises(ValueError, match=r"takes images of \(32, 48\)"):
        encoder(pictures((48, 32)))


def test_a_size_that_the_library_cannot_take_is_named():
    kind, config, options = MODELS["dinov2"]
    model = made(kind, config, options | {"image_size": (32, 48)})
    with pytest.raises(ValueError, match=r"no embedding of a picture of \(32, 48\)"):
        image_encoder(frozen(model), name="dinov2")


@pytest.mark.parametrize("name", TOKENS)
@torch.no_grad()
def test_what_is_linear_behind_the_last_norm(name):
    encoder = encoder_of(name)
    last = encoder.parts.last
    assert (last is None) == (name in CURVED)
    if last is not None:
        norm, readout = last
        z = encoder.split(encoder.depth).prefix(pictures())
        n = norm(z)
        assert torch.equal(readout(n), encoder(pictures()))
        torch.testing.assert_close(readout(2 * n - z), 2 * readout(n) - readout(z))


@pytest.mark.parametrize("name", ["clip", "siglip 2", "vit classifier", "beit", "dinov3", "resnet"])
@torch.no_grad()
def test_nothing_that_a_configuration_asks_for_gets_in_the_way(name):
    kind, config, options = MODELS[name]
    model = made(kind, config, options)
    plain = own(model, pictures())
    for settings in (model.config, getattr(model.config, "vision_config", model.config)):
        settings.output_hidden_states = True
        settings.return_dict = False
        if kind != "ResNetModel":
            settings._attn_implementation = "eager"
            settings.output_attentions = True
    if model.supports_gradient_checkpointing:
        model.activation_checkpointing_enable()
    model.train()
    encoder = image_encoder(frozen(model), name=name)
    h = encoder(pictures())
    torch.testing.assert_close(h if encoder.head is None else encoder.head(h), plain)
    cut_everywhere(encoder, pictures())
    assert model.training and model.config.return_dict is False


@torch.no_grad()
def test_only_the_image_side_of_a_dual_model_runs():
    for name in ("clip", "siglip", "siglip 2"):
        model = made(*MODELS[name])
        for p in model.text_model.parameters():
            p.fill_(float("nan"))
        encoder = image_encoder(frozen(model), name=name)
        assert encoder(pictures()).isfinite().all() and encoder.whole(pictures()).isfinite().all()
        assert encoder.weights and not any("text" in n or "logit" in n for n in encoder.weights)


@torch.no_grad()
def test_weights_can_be_lent_out_and_know_their_depth():
    for name in ("clip", "dinov2 classifier", "convnext classifier", "deit distilled"):
        encoder = image_encoder(frozen(model_of(name)), name=name)
        before = encoder(pictures())
        with torch.enable_grad():
            groups = weight_groups(encoder, pictures())
        assert list(groups) == ["tail", "block 1", "block 0", "stem"]
        with own_weights(encoder) as weights:
            for n in groups["block 0"]:
                weights[n].zero_()
            assert not torch.allclose(encoder(pictures()), before)
            torch.testing.assert_close(encoder(pictures()), encoder.whole(pictures()))
        assert torch.equal(encoder(pictures()), before)


class Mine(transformers.ViTModel):
    """A class of the user's own."""


@torch.no_grad()
def test_classes_of_the_users_own_are_known_by_what_they_are_made_from():
    model = seeded(lambda: Mine(transformers.ViTConfig(**VIT))).eval()
    encoder = xu.wrap(model, name="mine")
    assert encoder.name == "mine" and encoder.depth == 2
    same_as_own(encoder, model, pictures(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_pooled_output_that_is_not_there():
    for name in ("vit", "deit"):  # the class token, as the family's classifier has it
        model = made(*MODELS[name], add_pooling_layer=False)
        encoder = image_encoder(frozen(model), name=name)
        x = pictures()
        assert torch.equal(encoder(x), model(x).last_hidden_state[:, 0])
        cut_everywhere(encoder, x)
    kind, config, options = MODELS["siglip tower"]
    model = made(kind, config, options | {"vision_use_head": False})
    encoder = image_encoder(frozen(model), name="no head")
    torch.testing.assert_close(encoder(x), model(x).last_hidden_state.mean(1))
    assert encoder.tokens == (0, (4, 4)) and encoder.depth == 2
    with pytest.raises(ValueError, match="gives no embedding of a picture.*no pooler"):
        image_encoder(frozen(made(*MODELS["beit"], add_pooling_layer=False)), name="beit")


def test_a_classifier_without_classes_has_no_head():
    kind, config, options = MODELS["vit classifier"]
    encoder = image_encoder(frozen(made(kind, config, options | {"num_labels": 0})), name="x")
    assert encoder.head is None and encoder.dim == 32


UNKNOWN = {
    "SwinForImageClassification": ("Swin", dict(embed_dim=8, depths=[1, 1], num_heads=[1, 2])),
    "RegNetForImageClassification": (
        "RegNet",
        dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8),
    ),
    "SwinModel": ("Swin", dict(embed_dim=8, depths=[1, 1], num_heads=[1, 2])),
}


@pytest.mark.parametrize("kind", UNKNOWN)
@torch.no_grad()
def test_families_that_are_not_known_have_an_embedding_and_no_split(kind):
    config, options = UNKNOWN[kind]
    if config == "Swin":
        options = options | dict(image_size=32, patch_size=4, window_size=4)
    model = made(kind, config, options)
    encoder = xu.wrap(model)
    size = encoder.image_size
    same_as_own(encoder, model, pictures(size, 2), rtol=1e-5, atol=1e-5)
    assert (encoder.head is not None) == ("ForImage" in kind)
    with pytest.raises(ValueError, match=f"no split: transformers' {kind} is not built like.*ViT"):
        encoder.split(0)


class Elsewhere(transformers.ViTModel):
    """A ViT whose layers are not where the library keeps them."""

    def __init__(self, config):
        super().__init__(config)
        self.stages = self.layers
        del self.layers

    def forward(self, pixel_values, **kwargs):
        z = self.embeddings(pixel_values)
        for layer in self.stages:
            z = layer(z)
        pooled = self.pooler(self.layernorm(z))
        return transformers.modeling_outputs.BaseModelOutputWithPooling(pooler_output=pooled)


class Twice(transformers.ViTModel):
    """A ViT whose forward pass does more than its layers show."""

    def forward(self, pixel_values, **kwargs):
        return super().forward(2 * pixel_values, **kwargs)


@pytest.mark.parametrize(("kind", "why"), [(Elsewhere, "is not built like"), (Twice, "does more")])
@torch.no_grad()
def test_models_that_were_changed_have_their_own_embedding_and_no_split(kind, why):
    model = seeded(lambda: kind(transformers.ViTConfig(**VIT))).eval()
    encoder = xu.wrap(model)
    assert torch.equal(encoder(pictures()), model(pictures()).pooler_output)
    with pytest.raises(ValueError, match=f"no split: .*{why}"):
        encoder.split(0)


def test_models_that_give_no_embedding_of_a_picture():
    with pytest.raises(ValueError, match="BertModel.*no image side"):
        image_encoder(frozen(small_bert()), name="text")
    for kind in ("ViTForMaskedImageModeling", "Dinov2Backbone", "BeitForMaskedImageModeling"):
        config = "ViT" if "ViT" in kind else "Beit" if "Beit" in kind else "Dinov2"
        with pytest.raises(ValueError, match=f"{kind}.*gives no embedding of a picture"):
            image_encoder(frozen(made(kind, config, VIT)), name="x")


# --- what pictures are normalised with


class Own(transformers.PreTrainedModel):
    """A model that shares nothing with those of the library."""

    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.dense = nn.Linear(3, 4)
        self.post_init()

    def forward(self, pixel_values):
        pooled = self.dense(pixel_values.mean((2, 3)))
        return transformers.modeling_outputs.BaseModelOutputWithPooling(pooler_output=pooled)


def test_mean_and_deviation_are_the_processors_or_the_librarys_for_the_type():
    model = frozen(model_of("clip"))
    ours = transformers.CLIPImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    encoder = image_encoder(model, name="x", processor=ours)
    assert encoder.mean == (0.1, 0.2, 0.3) and encoder.std == (0.4, 0.5, 0.6)
    from PIL import Image

    white = encoder.transform(Image.new("RGB", (40, 40), "white"))
    expected = (1 - torch.tensor(encoder.mean)) / torch.tensor(encoder.std)
    torch.testing.assert_close(white[:, 16, 16], expected)
    default = encoder_of("clip")
    assert default.mean == tuple(transformers.CLIPImageProcessor().image_mean)
    assert encoder_of("clip tower").std == tuple(transformers.CLIPImageProcessor().image_std)
    for name in (
        "dinov2",
        "dinov2 registers",
        "dinov3",
        "dinov3 cnn",
        "deit",
        "resnet",
        "convnext",
    ):
        assert encoder_of(name).mean == IMAGENET_DEFAULT_MEAN  # of the published weights
        assert encoder_of(name).std == IMAGENET_DEFAULT_STD
    plain = transformers.CLIPImageProcessor(do_normalize=False)
    encoder = image_encoder(model, name="x", processor=plain)
    assert encoder.mean == (0, 0, 0) and encoder.std == (1, 1, 1)
    own = Own(transformers.PretrainedConfig())
    with pytest.raises(ValueError, match="no image processor for Own: pass processor="):
        image_encoder(own, name="x")
    encoder = image_encoder(own, name="x", processor=ours)
    assert encoder.mean == (0.1, 0.2, 0.3) and encoder.depth == 0
    with pytest.raises(ValueError, match="processor must be an image processor.*got str"):
        image_encoder(model, name="x", processor="clip")


def test_the_size_of_a_cnn_without_one_is_the_processors():
    kind, config, options = MODELS["resnet"]
    model = made(kind, config, {k: v for k, v in options.items() if k != "image_size"})
    assert image_encoder(frozen(model), name="x").image_size == (224, 224)
    for size in ({"shortest_edge": 64}, {"height": 64, "width": 64}):
        processor = transformers.ConvNextImageProcessor(size=size)
        assert image_encoder(frozen(model), name="x", processor=processor).image_size == (64, 64)


# --- folders


def save(folder, name, processor=None):
    model_of(name).save_pretrained(folder)
    (processor or transformers.ViTImageProcessor()).save_pretrained(folder)
    return f"transformers/{folder}"


@pytest.mark.parametrize("name", ["vit classifier", "clip projected", "deit distilled", "resnet"])
@torch.no_grad()
def test_a_folder_is_loaded_with_its_own_mean_and_deviation(tmp_path, name):
    processor = transformers.ViTImageProcessor(image_mean=[0.1] * 3, image_std=[0.7] * 3)
    encoder = xu.load_model(save(tmp_path, name, processor), device="cpu")
    assert encoder.mean == (0.1, 0.1, 0.1) and encoder.std == (0.7, 0.7, 0.7)
    assert encoder.name == f"transformers/{tmp_path}" and encoder.depth == 2
    same_as_own(encoder, model_of(name), pictures(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_random_weights_of_a_folder(tmp_path):
    name = save(tmp_path, "dinov3")
    one, two = (xu.load_model(name, pretrained="random", device="cpu") for _ in range(2))
    x = pictures()
    assert torch.equal(one(x), two(x))
    assert not torch.allclose(one(x), xu.load_model(name, device="cpu")(x))
    with pytest.raises(ValueError, match='pretrained must be None .* or "random".*"?yes'):
        xu.load_model(name, pretrained="yes")


@torch.no_grad()
def test_a_pooler_that_was_never_trained_is_left_out(tmp_path):
    model = made(*MODELS["vit"], add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    encoder = xu.load_model(f"transformers/{tmp_path}", device="cpu")
    x = pictures()
    torch.testing.assert_close(encoder(x), model(x).last_hidden_state[:, 0])


def test_weights_that_are_not_complete(tmp_path):
    from safetensors.torch import load_file, save_file

    name = save(tmp_path, "vit classifier")
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights["classifier.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="no weights for classifier.weight"):
        xu.load_model(name)
    file.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="does not hold the weights"):
        xu.load_model(name)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="does not hold a whole model: it lacks config.json"):
        xu.load_model(name)


def test_a_model_saved_for_another_task_is_loaded_as_its_base(tmp_path, capfd):
    made("ViTForMaskedImageModeling", "ViT", VIT).save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    capfd.readouterr()
    encoder = xu.load_model(f"transformers/{tmp_path}", device="cpu")
    assert encoder.dim == 32 and encoder.depth == 2 and encoder.head is None
    assert capfd.readouterr() == ("", "")
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("ViTForMaskedImageModeling", "pipeline"))
    assert xu.load_model(f"transformers/{tmp_path}", device="cpu").depth == 2


@torch.no_grad()
def test_weights_are_read_as_float32_and_from_plain_tensors(tmp_path):
    model = made(*MODELS["vit classifier"]).half()
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    for pretrained in (None, "random"):
        encoder = xu.load_model(f"transformers/{tmp_path}", pretrained=pretrained, device="cpu")
        assert encoder.dtype == torch.float32
    encoder = xu.load_model(f"transformers/{tmp_path}", device="cpu")
    same_as_own(encoder, model.float(), pictures(), rtol=1e-5, atol=1e-5)


class Spy:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


def test_a_pickle_is_not_run(tmp_path):
    model_of("vit").config.save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    torch.save({"a": Spy(str(tmp_path / "ran"))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="does not hold the weights"):
        xu.load_model(f"transformers/{tmp_path}")
    assert not (tmp_path / "ran").exists()


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModel": "mine.M"}}'
    )
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="lacks a config.json of a model that transformers knows"):
        xu.load_model(f"transformers/{tmp_path}")
    assert not (tmp_path / "ran").exists()


def test_a_name_that_the_hub_cannot_give(monkeypatch):
    monkeypatch.setattr("xai_utils.models.fetch.hub_answers", lambda: False)
    with pytest.raises(
        FileNotFoundError, match="cannot get transformers/nobody/nothing .* from its"
    ):
        xu.load_model("transformers/nobody/nothing")
    with pytest.raises(ValueError, match="transformers/FOLDER-OR-NAME"):
        xu.load_model("transformers/")


# --- both sides


def test_a_dual_model_needs_a_tokenizer():
    with pytest.raises(ValueError, match="needs tokenizer= for the text side of CLIPModel"):
        xu.wrap(model_of("clip"))
    with pytest.raises(ValueError, match="tokenizer= is of no use for ViTModel.* image side"):
        xu.wrap(model_of("vit"), tokenizer=tokenizer())
    with pytest.raises(ValueError, match="processor= is of no use for BertModel.* text side"):
        xu.wrap(small_bert(), tokenizer=tokenizer(), processor=transformers.CLIPImageProcessor())
    with pytest.raises(ValueError, match="processor cannot be given"):
        xu.wrap(nn.Identity(), processor=transformers.CLIPImageProcessor())


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip 2"])
def test_a_folder_of_a_dual_model_without_a_tokenizer(tmp_path, name):
    with pytest.raises(ValueError, match=f"{tmp_path} .* lacks tokenizer.json, or"):
        xu.load_model(save(tmp_path, name))


@torch.no_grad()
def test_a_dual_model_is_a_dual_encoder(tmp_path):
    pytest.importorskip("xai_utils.models.hf_text")
    vocabulary = dict(vocab_size=len(tokenizer()), eos_token_id=tokenizer().sep_token_id)
    options = dict(text_config=TEXT | vocabulary, vision_config=VIT, projection_dim=24)
    model = made("CLIPModel", "CLIP", options)
    dual = xu.wrap(model, tokenizer=tokenizer(), name="both")
    assert isinstance(dual, DualEncoder) and dual.name == "both"
    x = pictures()
    torch.testing.assert_close(dual.encode_image(x), own(model, x))
    given = tokenizer()(["a cat"], return_tensors="pt")
    theirs = model.get_text_features(given["input_ids"], given["attention_mask"]).pooler_output
    torch.testing.assert_close(dual.encode_text(["a cat"]), theirs, rtol=1e-5, atol=1e-5)
    for part in (model, tokenizer(), transformers.CLIPImageProcessor(image_mean=[0.3] * 3)):
        part.save_pretrained(tmp_path)
    again = xu.load_model(f"transformers/{tmp_path}", device="cpu")
    assert again.image.mean == (0.3, 0.3, 0.3)
    torch.testing.assert_close(again.encode_image(x), dual.encode_image(x))
    torch.testing.assert_close(again.encode_text(["a cat"]), dual.encode_text(["a cat"]))


# --- the same weights in two libraries


def as_open_clip(model) -> nn.Module:
    """An open_clip CLIP with the weights of a transformers CLIP's image side."""
    v = model.config.vision_config
    vision = dict(
        image_size=v.image_size,
        patch_size=v.patch_size,
        width=v.hidden_size,
        layers=v.num_hidden_layers,
        head_width=v.hidden_size // v.num_attention_heads,
        mlp_ratio=v.intermediate_size / v.hidden_size,
    )
    text = dict(width=8, heads=2, layers=1)
    clip = open_clip.CLIP(24, vision, text, quick_gelu=True).eval()
    theirs, ours = model.vision_model.state_dict(), {}
    names = {
        "class_embedding": "embeddings.class_embedding",
        "conv1.weight": "embeddings.patch_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
    }
    for ln, norm in {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}.items():
        names |= {f"{ln}.{w}": f"{norm}.{w}" for w in ("weight", "bias")}
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    inner |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for i in range(v.num_hidden_layers):
        block, layer = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
        for w in ("weight", "bias"):
            names |= {f"{block}.{a}.{w}": f"{layer}.{b}.{w}" for a, b in inner.items()}
            qkv = [theirs[f"{layer}.self_attn.{p}_proj.{w}"] for p in "qkv"]
            ours[f"{block}.attn.in_proj_{w}"] = torch.cat(qkv)
    ours |= {a: theirs[b] for a, b in names.items()}
    ours["proj"] = model.visual_projection.weight.T
    clip.visual.load_state_dict(ours)
    return clip


@pytest.mark.parametrize("method", [partial(m2ib, seed=0), nib])
def test_clip_has_the_same_maps_in_transformers_and_in_open_clip(method):
    model = model_of("clip")
    theirs = xu.wrap(as_open_clip(model), tokenizer=open_clip.get_tokenizer("ViT-B-32")).image
    ours, x = encoder_of("clip"), pictures()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    target = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    ours, theirs = [method(e, x, target, layer=0).map for e in (ours, theirs)]
    assert ours.std() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * ours.abs().max())
