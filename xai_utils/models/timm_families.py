"""timm's families, a row each: their stem, blocks and tail. Behind every row comes timm's own
`forward_head(z, pre_logits=True)`, which gives the vector that enters the classifier."""

import torch
from torch import Tensor, nn

from .layout import Layout, numbered


def vit_tokens(model: nn.Module) -> tuple[int, tuple[int, int]]:
    return model.num_prefix_tokens, tuple(model.patch_embed.grid_size)


def plain_tokens(model: nn.Module) -> tuple[int, tuple[int, int]]:
    return 0, tuple(model.patch_embed.grid_size)


def padded(model: nn.Module) -> str:
    """Whether the patches reach beyond the picture, so that no map of them fits it."""
    embed = model.patch_embed
    size, cells = getattr(embed, "img_size", None), getattr(embed, "dynamic_feat_size", None)
    if size is None or cells is None or tuple(cells(size)) == tuple(embed.grid_size):
        return ""
    return (
        f"its patches reach beyond pictures of {tuple(size)} (dynamic_img_pad): build it with an"
        " img_size that is a multiple of the patch's"
    )


def with_class_token(model: nn.Module, z: Tensor) -> Tensor:
    """Patches (B, h w, width) -> tokens (B, 1 + h w, width)."""
    if model.cls_token is None:
        return z
    return torch.cat([model.cls_token.expand(len(z), -1, -1), z], dim=1)


def with_positions(model: nn.Module, z: Tensor) -> Tensor:
    return model.pos_drop(z if model.pos_embed is None else z + model.pos_embed)


def beit_bias(model: nn.Module, k: int) -> dict:
    """The bias that BEiT's blocks share."""
    return {"shared_rel_pos_bias": model.rel_pos_bias and model.rel_pos_bias()}


def relative_bias(model: nn.Module, k: int) -> dict:
    return {"shared_rel_pos": model.shared_rel_pos and model.shared_rel_pos.get_bias()}


def eva_tokens(model: nn.Module, z: Tensor) -> Tensor:
    return model._pos_embed(z)[0]


def eva_positions(model: nn.Module, k: int) -> dict:
    """The rotary positions of block k of an `Eva`."""
    if model.rope is None:
        return {}
    if model.dynamic_img_size or not hasattr(model.rope, "feat_shape"):
        rope = model.rope.get_embed(shape=model.patch_embed.grid_size)
    else:
        rope = model.rope.get_embed()
    return {"rope": rope[k] if model.rope_mixed else rope}


def xcit_tokens(model: nn.Module, z: Tensor) -> Tensor:
    z, (h, w) = model.patch_embed(z)
    if model.pos_embed is not None:
        z = z + model.pos_embed(len(z), h, w).reshape(len(z), -1, z.shape[1]).mT
    return model.pos_drop(z)


def xcit_grid(model: nn.Module, k: int = 0) -> dict:
    embed = model.patch_embed
    return dict(zip("HW", (side // embed.patch_size for side in embed.img_size)))


def sam_positions(model: nn.Module, z: Tensor) -> Tensor:
    from timm.layers import resample_abs_pos_embed_nhwc

    if model.pos_embed is not None:
        z = z + resample_abs_pos_embed_nhwc(model.pos_embed, z.shape[1:3])
    return model.pos_drop(z)


def sam_neck(model: nn.Module, z: Tensor) -> Tensor:
    return model.neck(z.permute(0, 3, 1, 2))


def nest_norm(model: nn.Module, z: Tensor) -> Tensor:
    return model.norm(z.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def fused(model: nn.Module) -> str:
    return "" if model.msfa is None else "its output reads the maps of several stages"


def vgg_stages(model: nn.Module) -> list:
    """VGG's flat list of layers, cut behind every pooling layer."""
    ends = [i + 1 for i, layer in enumerate(model.features) if isinstance(layer, nn.MaxPool2d)]
    return [model.features[a:b] for a, b in zip([0, *ends], ends)]


STAGES = Layout("stem", "stages")
STAGES_NORM = Layout("stem", "stages", "norm")
SWIN = Layout("patch_embed", "layers", "norm", channels_last=True)

TIMM_LAYOUT = {
    "VisionTransformer": Layout(
        "patch_embed _pos_embed patch_drop norm_pre",
        "blocks",
        "norm",
        tokens=vit_tokens,
        unless=padded,
    ),
    "Eva": Layout(
        ("patch_embed", eva_tokens, "norm_pre"),
        "blocks",
        "norm",
        tokens=vit_tokens,
        told=eva_positions,
        unless=padded,
    ),
    "Beit": Layout(
        ("patch_embed", with_class_token, with_positions),
        "blocks",
        "norm",
        tokens=vit_tokens,
        told=beit_bias,
    ),
    "VisionTransformerRelPos": Layout(
        ("patch_embed", with_class_token),
        "blocks",
        "norm",
        tokens=vit_tokens,
        told=relative_bias,
    ),
    "Cait": Layout(
        ("patch_embed", with_positions), "blocks", "forward_cls norm", tokens=plain_tokens
    ),
    "Xcit": Layout(
        (xcit_tokens,),
        "blocks",
        "forward_cls norm",
        tokens=lambda model: (0, tuple(xcit_grid(model).values())),
        told=xcit_grid,
    ),
    "MlpMixer": Layout(
        "stem", "blocks", "norm", tokens=lambda model: (0, tuple(model.stem.grid_size))
    ),
    "VisionTransformerSAM": Layout(
        ("patch_embed", sam_positions, "patch_drop", "norm_pre"),
        "blocks",
        (sam_neck,),
        channels_last=True,
    ),
    "HieraDet": Layout("patch_embed _pos_embed", "blocks", channels_last=True),
    "SwinTransformer": SWIN,
    "SwinTransformerV2": SWIN,
    "SwinTransformerV2Cr": Layout("patch_embed", "stages"),
    "Sequencer2d": Layout("stem", "stages", "norm", channels_last=True),
    "MambaOut": Layout("stem", "stages", channels_last=True),
    "EfficientNet": Layout("conv_stem bn1", "blocks", "conv_head bn2"),
    "MobileNetV3": Layout("conv_stem bn1", "blocks"),
    "GhostNet": Layout("conv_stem bn1 act1", "blocks"),
    "RepGhostNet": Layout("conv_stem bn1 act1", "blocks"),
    "MobileNetV5": Layout("conv_stem", "blocks", unless=fused),
    "ResNet": Layout("conv1 bn1 act1 maxpool", numbered("layer", 1, 4)),
    "SENet": Layout("layer0 pool0", numbered("layer", 1, 4)),
    "ResNetV2": STAGES_NORM,
    "RegNet": Layout("stem", numbered("s", 1, 4), "final_conv"),
    "ByobNet": Layout("stem", "stages", "final_conv"),
    "NormFreeNet": Layout("stem", "stages", "final_conv final_act"),
    "ConvNeXt": Layout("stem", "stages", "norm_pre"),
    "EdgeNeXt": Layout("stem", "stages", "norm_pre"),
    "DaVit": Layout("stem", "stages", "norm_pre"),
    "RDNet": Layout("stem", "dense_stages", "norm_pre"),
    "DenseNet": Layout("", "features"),
    "InceptionV4": Layout("", "features"),
    "InceptionV3": Layout(
        "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Pool1 Conv2d_3b_1x1 Conv2d_4a_3x3 Pool2",
        "Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b"
        " Mixed_7c",
    ),
    "InceptionResnetV2": Layout(
        "conv2d_1a conv2d_2a conv2d_2b maxpool_3a conv2d_3b conv2d_4a maxpool_5a",
        "mixed_5b repeat mixed_6a repeat_1 mixed_7a repeat_2 block8",
        "conv2d_7b",
    ),
    "DLA": Layout("base_layer", numbered("level", 0, 5)),
    "VGG": Layout("", vgg_stages),
    "TResNet": Layout("body.s2d body.conv1", lambda model: list(model.body)[2:]),
    "Xception": Layout(
        "conv1 bn1 act1 conv2 bn2 act2", numbered("block", 1, 12), "conv3 bn3 act3 conv4 bn4 act4"
    ),
    "XceptionAligned": Layout("stem", "blocks", "act"),
    "RexNet": Layout("stem", "features"),
    "ConvMixer": Layout("stem", "blocks"),
    "Nest": Layout("patch_embed", "levels", (nest_norm,)),
    "PyramidVisionTransformerV2": Layout(
        "patch_embed stages.0", lambda model: list(model.stages)[1:]
    ),
    "EfficientVitMsra": Layout("patch_embed", "stages"),
    "SHViT": Layout("patch_embed", "stages"),
    "FasterNet": Layout("patch_embed", "stages"),
    "TinyVit": Layout("patch_embed", "stages"),
    "FocalNet": Layout("stem", "layers", "norm"),
    "FastVit": Layout("stem", "stages", "final_conv"),
    "CSATv2": Layout("stem_dct", "stages"),
    **dict.fromkeys(
        ["EfficientFormerV2", "MaxxVit", "NextViT", "StarNet", "SwiftFormer"], STAGES_NORM
    ),
    **dict.fromkeys(
        "CPUBone CspNet CspNext EfficientVit EfficientVitLarge GlobalContextVit HighPerfGpuNet"
        " IFormer LCNetV2 LowFormer MetaFormer MetaNeXt RepVit VovNet".split(),
        STAGES,
    ),
}

SEQUENCE = "the number of its tokens changes from block to block"
NO_SPLIT = {
    "CoaT": "its blocks hand on tokens of four resolutions at a time",
    "ConVit": "its class token joins in the middle of its blocks",
    "CrossVit": "its blocks hand on tokens of two resolutions at a time",
    "DPN": "its blocks hand on two maps at a time",
    "EfficientFormer": "its last stage turns maps into tokens",
    "EfficientViM": "its output reads the states of every stage",
    "HighResolutionNet": "its stages hand on maps of four resolutions at a time",
    "Hiera": "its tokens are ordered by windows and get fewer from block to block",
    "Levit": SEQUENCE,
    "MultiScaleVit": SEQUENCE,
    "NASNetALarge": "its cells read the outputs of the two before",
    "NaFlexVit": "it takes pictures of every shape, so that its tokens have no fixed grid",
    "PNASNet5Large": "its cells read the outputs of the two before",
    "PoolingVisionTransformer": SEQUENCE,
    "SelecSls": "its blocks hand on a list of maps",
    "TNT": "its blocks hand on tokens of pixels and of patches at a time",
    "Twins": "its positions are made between its blocks",
    "VOLO": "its positions are added between its blocks",
    "Visformer": "its positions are added between its stages",
}
