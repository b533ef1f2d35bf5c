"""Where each library keeps the pieces of its transformer blocks. A new kind is a row of BLOCKS."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter

import torch
from timm.layers import apply_rot_embed_cat
from torch import Tensor, nn

from .blocks import Affine, AttentionBlock, Scale, Turn, same
from .wrapping import chain, dtype_of

# Where a block keeps its pieces: attribute paths, separated by spaces where there are several.
TIMM = dict(
    norm1="norm1",
    attention="attn",
    qkv="attn.qkv",
    heads="attn.num_heads",
    out="attn.proj",
    norm2="norm2",
    mlp="mlp",
    layers="mlp.fc1 mlp.act mlp.norm mlp.fc2",
)
GAMMAS = TIMM | dict(scale1="gamma_1", scale2="gamma_2")
OPEN_CLIP = dict(
    norm1="ln_1",
    attention="attn",
    qkv="attn",
    heads="attn.num_heads",
    out="attn.out_proj",
    norm2="ln_2",
    mlp="mlp",
    layers="mlp.c_fc mlp.gelu mlp.c_proj",
    scale1="ls_1",
    scale2="ls_2",
)
TORCHVISION = OPEN_CLIP | dict(
    attention="self_attention",
    qkv="self_attention",
    heads="num_heads",
    out="self_attention.out_proj",
    layers="mlp.0 mlp.1 mlp.3",
    scale1="",
    scale2="",
)
HF_VIT = dict(
    norm1="layernorm_before",
    attention="attention",
    qkv="attention.q_proj attention.k_proj attention.v_proj",
    heads="attention.num_attention_heads",
    out="attention.o_proj",
    norm2="layernorm_after",
    mlp="mlp",
    layers="mlp.fc1 mlp.activation_fn mlp.fc2",
)
HF_DINO = HF_VIT | dict(norm1="norm1", norm2="norm2", scale1="layer_scale1", scale2="layer_scale2")
HF_DINO3 = HF_DINO | dict(
    heads="attention.num_heads", layers="mlp.up_proj mlp.act_fn mlp.down_proj"
)
HF_CLIP = dict(
    norm1="layer_norm1",
    attention="self_attn",
    qkv="self_attn.q_proj self_attn.k_proj self_attn.v_proj",
    heads="self_attn.num_heads",
    out="self_attn.out_proj",
    norm2="layer_norm2",
    mlp="mlp",
    layers="mlp.fc1 mlp.activation_fn mlp.fc2",
)
BERT = dict(
    norm1="attention.output.LayerNorm",
    attention="attention.self",
    qkv="attention.self.query attention.self.key attention.self.value",
    heads="attention.self.num_attention_heads",
    out="attention.output.dense",
    norm2="output.LayerNorm",
    mlp="intermediate output.dense",
    norm_first=False,
)
MPNET = BERT | dict(
    norm1="attention.LayerNorm",
    attention="attention.attn",
    qkv="attention.attn.q attention.attn.k attention.attn.v",
    heads="attention.attn.num_attention_heads",
    out="attention.attn.o",
)
ALBERT = BERT | dict(
    norm1="albert_layers.0.attention.LayerNorm",
    attention="albert_layers.0.attention",
    qkv="albert_layers.0.attention.query albert_layers.0.attention.key"
    " albert_layers.0.attention.value",
    heads="albert_layers.0.attention.num_attention_heads",
    out="albert_layers.0.attention.dense",
    norm2="albert_layers.0.full_layer_layer_norm",
    mlp="albert_layers.0.ffn albert_layers.0.activation albert_layers.0.ffn_output",
)
DISTILBERT = BERT | dict(
    norm1="sa_layer_norm",
    attention="attention",
    qkv="attention.q_lin attention.k_lin attention.v_lin",
    heads="attention.n_heads",
    out="attention.out_lin",
    norm2="output_layer_norm",
    mlp="ffn",
)

# By the block's class, module and name: to import the libraries takes seconds.
BLOCKS = {
    "timm.models.vision_transformer.Block": TIMM | dict(scale1="ls1", scale2="ls2"),
    "timm.models.vision_transformer_relpos.RelPosBlock": TIMM | dict(scale1="ls1", scale2="ls2"),
    "timm.models.eva.EvaBlock": GAMMAS,
    "timm.models.beit.Block": GAMMAS,
    "open_clip.transformer.ResidualAttentionBlock": OPEN_CLIP,
    "open_clip.transformer.CustomResidualAttentionBlock": OPEN_CLIP
    | dict(layers="mlp.c_fc mlp.gelu mlp.ln mlp.c_proj", scale1="ln_attn ls_1"),
    "torchvision.models.vision_transformer.EncoderBlock": TORCHVISION,
    "transformers.models.vit.modeling_vit.ViTLayer": HF_VIT,
    "transformers.models.deit.modeling_deit.DeiTLayer": HF_VIT,
    "transformers.models.beit.modeling_beit.BeitLayer": HF_VIT
    | dict(scale1="lambda_1", scale2="lambda_2"),
    "transformers.models.dinov2.modeling_dinov2.Dinov2Layer": HF_DINO,
    "transformers.models.dinov2_with_registers.modeling_dinov2_with_registers"
    ".Dinov2WithRegistersLayer": HF_DINO,
    "transformers.models.dinov3_vit.modeling_dinov3_vit.DINOv3ViTLayer": HF_DINO3,
    "transformers.models.clip.modeling_clip.CLIPEncoderLayer": HF_CLIP,
    "transformers.models.chinese_clip.modeling_chinese_clip.ChineseCLIPVisionLayer": HF_CLIP,
    "transformers.models.metaclip_2.modeling_metaclip_2.MetaClip2EncoderLayer": HF_CLIP,
    "transformers.models.siglip.modeling_siglip.SiglipEncoderLayer": HF_CLIP,
    "transformers.models.siglip2.modeling_siglip2.Siglip2EncoderLayer": HF_CLIP,
    "transformers.models.bert.modeling_bert.BertLayer": BERT,
    "transformers.models.roberta.modeling_roberta.RobertaLayer": BERT,
    "transformers.models.xlm_roberta.modeling_xlm_roberta.XLMRobertaLayer": BERT,
    "transformers.models.camembert.modeling_camembert.CamembertLayer": BERT,
    "transformers.models.electra.modeling_electra.ElectraLayer": BERT,
    "transformers.models.chinese_clip.modeling_chinese_clip.ChineseCLIPTextLayer": BERT,
    "transformers.models.albert.modeling_albert.AlbertLayerGroup": ALBERT,
    "transformers.models.mpnet.modeling_mpnet.MPNetLayer": MPNET,
    "transformers.models.distilbert.modeling_distilbert.TransformerBlock": DISTILBERT,
}


# What a block has that this description lacks, by a part of a class's name or by what is in it.
UNLIKE = {
    "Swin": "its attention stays within windows, so that there is no token-to-token matrix",
    "Window": "its attention stays within windows, so that there is no token-to-token matrix",
    "ParallelScaling": "its attention and its MLP run side by side",
    "ParallelThings": "it has several attentions side by side",
    "TalkingHead": "its heads are mixed before and after the softmax",
    "DiffAttention": "its attention is the difference of two",
}


def dissect(module: nn.Module, around=None) -> AttentionBlock:
    """A block in pieces. Raises ValueError, with the reason, for one of a kind that is not known.

    around  what calls the module where it needs more than the latent: an object with `rope` (timm's
            tensor, or cosine and sine), `bias` or `pairs` (what is added to the scores, as in
            AttentionBlock), `resolution` (H, W) in pixels
    """
    names = [f"{c.__module__}.{c.__qualname__}" for c in type(module).__mro__]
    row = next((BLOCKS[name] for name in names if name in BLOCKS), None)
    told = arguments(around)
    check_alike(module, row)
    attention = attrgetter(row["attention"])(module)
    return AttentionBlock(
        norm1=attrgetter(row["norm1"])(module),
        qkv=into_heads(module, attention, row["qkv"]),
        heads=attrgetter(row["heads"])(module),
        out=attrgetter(row["out"])(module),
        norm2=attrgetter(row["norm2"])(module),
        mlp=chain(pieces(module, row["mlp"])),
        layers=plain_layers(module, row.get("layers", "")),
        scale1=chain([scale(s) for s in pieces(module, row.get("scale1", ""))]),
        scale2=chain([scale(s) for s in pieces(module, row.get("scale2", ""))]),
        turn=turn(attention, told["rope"]),
        bias=bias(module, attention, told),
        inner=first(attention, "norm", "ln_inner") or same,
        norm_first=row.get("norm_first", True),
        dtype=dtype_of(module),
    )


def arguments(around) -> dict:
    """What an object around a block calls it with."""
    if hasattr(around, "told"):
        told = around.told(around.model, around.k)
        given = told.get("shared_rel_pos_bias", told.get("shared_rel_pos"))
        return dict(rope=told.get("rope"), bias=given, resolution=None)
    given = first(around, "bias", "pairs")
    return dict(rope=first(around, "rope"), bias=given, resolution=first(around, "resolution"))


def check_alike(module: nn.Module, row: dict | None) -> None:
    """Raise ValueError for a block without a row, and for what no row describes."""
    inside = module.modules() if isinstance(module, nn.Module) else ()
    kinds = [type(module).__name__, *(type(m).__name__ for m in inside)]
    why = next((why for part, why in UNLIKE.items() if any(part in k for k in kinds)), None)
    if row is not None and why is None:
        attention = attrgetter(row["attention"])(module)
        if getattr(attention, "gate", None) is not None:
            why = "the output of its attention is gated"
        if getattr(attention, "num_kv_groups", 1) > 1:
            why = "several of its heads share their keys and values"
    if row is None or why is not None:
        raise ValueError(f"{kinds[0]}" + (f" ({why})" if why else ""))


def pieces(module: nn.Module, paths: str) -> list:
    return [attrgetter(path)(module) for path in paths.split()]


def first(owner, *names: str):
    """The first of some attributes that is there and not None, else None."""
    return next((v for v in (getattr(owner, name, None) for name in names) if v is not None), None)


def into_heads(module: nn.Module, attention: nn.Module, paths: str) -> tuple[Callable, ...]:
    """The linear layers into q, k, v: one fused or three."""
    if first(attention, "in_proj_weight") is not None:
        return (Affine(attention.in_proj_weight, attention.in_proj_bias),)
    if first(attention, "q_bias") is not None:
        parts = [attention.q_bias, attention.k_bias, attention.v_bias]
        return (Affine(attention.qkv.weight, torch.cat(parts)),)
    found = pieces(module, paths)
    if found == [None]:  # timm's Eva, which may keep the three apart
        found = [attention.q_proj, attention.k_proj, attention.v_proj]
    return tuple(found)


def plain_layers(module: nn.Module, paths: str) -> tuple[Callable, ...]:
    try:
        return tuple(pieces(module, paths))
    except AttributeError:  # another kind of MLP
        return ()


def scale(found) -> Callable:
    if found is None:
        return same
    return found if isinstance(found, nn.Module) else Scale(found)


def turn(attention: nn.Module, rope) -> Turn:
    norms = [first(attention, *names) or same for names in (("q_norm", "ln_q"), ("k_norm", "ln_k"))]
    if rope is None:
        return Turn(*norms)
    if isinstance(rope, Tensor):  # timm's, sine and cosine side by side
        half = getattr(attention, "rotate_half", False)
        return Turn(*norms, partial(apply_rot_embed_cat, emb=rope, half=half), rope.shape[-2])
    return Turn(*norms, partial(by_cosine_and_sine, *rope), rope[0].shape[-2])  # transformers'


def by_cosine_and_sine(cos: Tensor, sin: Tensor, x: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def bias(module: nn.Module, attention: nn.Module, told: dict):
    """What is added to the scores: the block's own relative positions, and what it is told."""
    given, table = told["bias"], first(module, "relative_position_bias")
    if first(attention, "relative_position_bias_table") is not None:  # timm's BEiT
        found = attention._get_rel_pos_bias()
    elif first(attention, "rel_pos") is not None:  # timm's ViT with relative positions
        found = attention.rel_pos.get_bias()
    elif table is not None:  # transformers' BEiT
        size = told["resolution"]
        found = table(tuple(n // module.patch_size for n in size) if size else table.window_size)
    else:
        return given
    return found if given is None else found + given
