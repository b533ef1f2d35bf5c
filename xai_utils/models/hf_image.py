"""Image models of Hugging Face transformers: the towers of CLIP and SigLIP, ViTs and CNNs.

A new architecture is a row of LAYOUT.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

import torch
from torch import nn

from ..images import image_transform
from ..types import ImageEncoder, Parts
from . import hf_pieces as pieces
from .hf_pictures import normalisation, pair, size_of
from .published import one_line
from .wrapping import chain, checked, device_of, dtype_of, probe_image


def plain(tower, layer, size, grid):
    return layer


def unmasked(tower, layer, size, grid):
    return partial(layer, attention_mask=None)


def biased(tower, layer, size, grid):
    return pieces.Biased(layer, tower.shared_position_bias, size, grid)


def rotated(tower, layer, size, grid):
    return pieces.Rotated(layer, tower.rope_embeddings, size)


@dataclass(frozen=True)
class Layout:
    """Where a family keeps its parts: names in the order of its own forward pass, each a module of
    the tower or a function of `hf_pieces`.

    stem     from the picture to the latent
    blocks   the list of layers
    pooled   from the latent to the pooled output
    classed  from the latent to what the family's classifier reads, which is also the embedding of a
             model without a pooled output
    block    (tower, layer, (H, W), (h, w)) -> the layer as the library calls it
    patched  True where a picture is given as the list of its patches
    """

    stem: str
    blocks: str
    pooled: str
    classed: str
    block: Callable = plain
    patched: bool = False


CLIP = Layout(
    "embeddings pre_layrnorm", "encoder.layers", "post_layernorm first", "patches", unmasked
)
SIGLIP = Layout(
    "embeddings", "encoder.layers", "post_layernorm head", "post_layernorm patches", unmasked
)
VIT = Layout("embeddings", "layers", "layernorm pooler", "layernorm first")
DINO = Layout("embeddings", "encoder.layer", "layernorm first", "layernorm first_and_patches")
CONVNEXT = Layout("embeddings", "encoder.stages", "places layernorm", "places layernorm")
LAYOUT = {
    "CLIPVisionModel": CLIP,
    "MetaClip2VisionModel": CLIP,
    "SiglipVisionModel": SIGLIP,
    "Siglip2VisionModel": replace(SIGLIP, patched=True),
    "ViTModel": VIT,
    "DeiTModel": VIT,
    "BeitModel": Layout("embeddings", "layers", "layernorm pooler", "layernorm pooler", biased),
    "Dinov2Model": DINO,
    "Dinov2WithRegistersModel": DINO,
    "DINOv3ViTModel": Layout("embeddings", "model.layer", "norm first", "norm first", rotated),
    "DINOv3ConvNextModel": Layout("", "model.stages", "places layer_norm", "places layer_norm"),
    "ResNetModel": Layout("embedder", "encoder.stages", "places", "places"),
    "ConvNextModel": CONVNEXT,
    "ConvNextV2Model": CONVNEXT,
}
AVERAGES = (pieces.patches, pieces.first_and_patches)
PICKS = (pieces.first, pieces.first_two)
TEXT_SIDE = ("text_model.", "text_projection.", "logit_")


def image_encoder(model: nn.Module, *, name: str, processor=None) -> ImageEncoder:
    """The image side of a frozen transformers model.

    model      of a family in LAYOUT, with splits; any other that gives one vector for a picture,
               without. Its configuration is set to give what is needed and nothing else
    processor  the image processor of the weights, for mean and standard deviation; None: those of
               the published weights of the model's type, which yours may not have been trained with
    The embedding is the library's own: of a model with a text side the projected features, not
    normalised; of a classifier the vector that its last layer, `head`, reads; else the pooled
    output. Pictures have the size that the configuration names. Raises ValueError for a model
    without an image side, and for one that gives no such vector.
    """
    if not sees(model):
        raise ValueError(f"{name} ({type(model).__name__}) has no image side")
    ask_for_no_more(model)
    tower = tower_of(model)
    layout = layout_of(tower)
    size = size_of(tower.config, processor)
    mean, std = normalisation(tower, processor)
    probe = probe_image(size, tower)
    try:
        whole, parts, tokens, head = taken_apart(model, tower, layout, probe)
    except Exception as error:  # whatever the library says of a picture that it does not take
        raise ValueError(
            f"{name} ({type(model).__name__}) gives no embedding of a picture of {size}:"
            f" {one_line(error)}. Wrap a module of your own that gives one vector (B, D)"
        ) from error
    encoder = ImageEncoder(
        name=name,
        device=device_of(tower),
        dtype=dtype_of(tower),
        whole=whole,
        parts=parts,
        no_split=f"transformers' {type(model).__name__} is not built like those that the kit knows"
        f" how to cut, {', '.join(LAYOUT)}",
        tokens=tokens,
        head=head,
        image_size=size,
        transform=image_transform(size, mean, std),
        mean=mean,
        std=std,
        channels_last=parts is not None and tokens is None,
        weights={n: p for n, p in model.named_parameters() if not n.startswith(TEXT_SIDE)},
    )
    return checked(encoder, probe)


def is_dual(model: nn.Module) -> bool:
    """Whether a transformers model embeds pictures and texts into one space."""
    return hasattr(model, "get_image_features") and hasattr(model, "get_text_features")


def sees(model: nn.Module) -> bool:
    """Whether a transformers model has an image side."""
    return is_dual(model) or model.main_input_name == "pixel_values"


def ask_for_no_more(model: nn.Module) -> None:
    """No tuples, hidden states or attention, which the library itself stumbles over in places."""
    for part in model.modules():
        config = getattr(part, "config", None)
        if hasattr(config, "return_dict"):
            config.return_dict = True
            config.output_hidden_states = config.output_attentions = False


def layout_of(module: nn.Module) -> Layout | None:
    """The layout of its class or of one that it is derived from, if the parts are there."""
    names = (c.__name__ for c in type(module).__mro__ if c.__name__ in LAYOUT)
    layout = LAYOUT.get(next(names, ""))
    try:
        for name in f"{layout.stem} {layout.blocks}".split() if layout else ():
            attrgetter(name)(module)
    except AttributeError:  # another version of the library, or changed by the user
        return None
    return layout


def tower_of(model: nn.Module) -> nn.Module:
    """The part of a model that LAYOUT knows; where there is none, its image side, or all of it."""
    inner = getattr(model, "vision_model", None)
    parts = [m for m in (model, inner, model.base_model) if isinstance(m, nn.Module)]
    rest = inner if hasattr(inner, "config") else model
    return next((m for m in parts if layout_of(m)), rest)


@torch.no_grad()
def taken_apart(model, tower, layout, probe):
    """The forward pass in one piece; Parts and tokens, None where there is no layout; the head or
    None."""
    inputs, tokens = pieces.pictures, None
    if layout:
        size, names = tuple(probe.shape[-2:]), layout.stem.split()
        stem, grid = [attrgetter(n)(tower) for n in names], None
        if layout.patched:
            inputs = pieces.Patches(tower.config.patch_size)
            stem = [pieces.PatchStem(*stem, inputs)]
        z = chain(stem)(probe)
        if z.ndim == 3:  # (1, T, width)
            grid = tuple(n // p for n, p in zip(size, pair(tower.config.patch_size)))
            tokens = (z.shape[1] - grid[0] * grid[1], grid)

    def steps(names):
        return [step(tower, n, tokens) for n in names.split()]

    whole, tail, head = embedding(model, tower, layout, inputs, probe, steps)
    if whole(probe).ndim != 2:
        raise ValueError(f"one vector (1, D) was wanted, not {tuple(whole(probe).shape)}")
    if layout is None:
        return whole, None, None, head
    layers = tuple(attrgetter(layout.blocks)(tower))
    blocks = tuple(layout.block(tower, layer, size, grid) for layer in layers)
    last = linear_end(tail) if tokens else None
    return whole, Parts(chain(stem), blocks, chain(tail), layers, last), tokens, head


def embedding(model, tower, layout, inputs, probe, steps):
    """What gives the embedding in one piece, the steps to it from the latent (None without a
    layout), and the classifier behind it or None."""
    project = [model.visual_projection] if hasattr(model, "visual_projection") else []
    if is_dual(model):
        whole = pieces.Whole(model.get_image_features, inputs, "pooler_output")
        return whole, layout and [*steps(layout.pooled), *project], None
    if hasattr(model, "distillation_classifier"):
        head = pieces.TwoHeads(model.cls_classifier, model.distillation_classifier)
        whole = pieces.Whole(model.base_model, inputs, "last_hidden_state", pieces.first_two)
        return whole, layout and steps("layernorm first_two"), head
    if isinstance(getattr(model, "classifier", None), nn.Module):
        bare = copy.copy(model)  # the same modules, but for the last
        bare._modules = {**model._modules, "classifier": nn.Identity()}
        head = model.classifier if model.num_labels else None
        return pieces.Whole(bare, inputs, "logits"), layout and steps(layout.classed), head
    output = model(**inputs(probe))
    for field, more in [("image_embeds", project), ("pooler_output", [])]:
        if output.get(field) is not None:
            whole = pieces.Whole(model, inputs, field)
            return whole, layout and [*steps(layout.pooled), *more], None
    if layout is None or "last_hidden_state" not in output:
        raise ValueError(f"it gives {', '.join(output)}, and none of them is one vector")
    tail = steps(layout.classed)
    return pieces.Whole(model, inputs, "last_hidden_state", chain(tail[1:])), tail, None


def step(tower, name, tokens):
    """One step from the latent to the embedding by its name in a layout."""
    if hasattr(pieces, name):
        f = getattr(pieces, name)
        return partial(f, extra=tokens[0]) if f in AVERAGES else f
    part = attrgetter(name)(tower)
    if part is None:
        raise ValueError(f"it has no {name}, so that its output is one vector for each token")
    if getattr(part, "layernorm", part) is None:  # BEiT's pooler, where it takes the class token
        return pieces.first
    return part


def linear_end(tail):
    """(norm, readout) of a tail that is linear behind a normalisation of the tokens or behind none;
    None of any other."""
    normed = isinstance(tail[0], nn.LayerNorm)
    norm, rest = (tail[0], tail[1:]) if normed else (nn.Identity(), tail)
    linear = all(
        isinstance(s, nn.Linear) or getattr(s, "func", s) in (*AVERAGES, *PICKS) for s in rest
    )
    return (norm, chain(rest)) if linear else None
