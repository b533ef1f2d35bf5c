"""One small member of every family of image models that the kit knows, with random weights."""

from functools import partial

import open_clip
import timm
import torch
from torch import nn
from torchvision import models as tv

SMALL = dict(embed_dim=16, depth=2, num_heads=2, img_size=32, patch_size=16)
SWIN = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=4, img_size=32)

# family -> (name of a member, what makes it small); a number is the side of its pictures
TIMM = {
    "Beit": ("beit_base_patch16_224", SMALL),
    "ByobNet": ("test_byobnet", 32),
    "CPUBone": ("cpubone_nano", 64),
    "CSATv2": ("csatv2", 64),
    "Cait": ("cait_xxs24_224", SMALL),
    "CoaT": ("coat_tiny", dict(img_size=64, embed_dims=(16,) * 4, serial_depths=(1,) * 4)),
    "ConVit": ("convit_tiny", SMALL | dict(local_up_to_layer=1)),
    "ConvMixer": (timm.models.convmixer.ConvMixer, dict(dim=16, depth=2)),
    "ConvNeXt": ("test_convnext", 32),
    "CrossVit": ("crossvit_tiny_240", dict(img_size=240)),
    "CspNet": ("cs3darknet_focus_s", 64),
    "CspNext": ("cspnext_tiny", 64),
    "DLA": ("dla46x_c", 64),
    "DPN": ("dpn48b", 64),
    "DaVit": (
        "davit_tiny",
        (32, dict(depths=(1, 1), embed_dims=(8, 16), num_heads=(1, 2), window_size=4)),
    ),
    "DenseNet": ("densenet121", (64, dict(growth_rate=4, block_config=(1, 2, 1, 1)))),
    "EdgeNeXt": ("edgenext_xx_small", 64),
    "EfficientFormer": ("efficientformer_l1", {}),
    "EfficientFormerV2": ("efficientformerv2_s0", {}),
    "EfficientNet": ("test_efficientnet", 32),
    "EfficientViM": ("efficientvim_m1", 224),
    "EfficientVit": ("efficientvit_b0", 64),
    "EfficientVitLarge": (
        "efficientvit_l1",
        (64, dict(widths=(8,) * 5, depths=(1,) * 5, head_widths=(16, 16), head_dim=8)),
    ),
    "EfficientVitMsra": ("efficientvit_m0", {}),
    "Eva": ("eva02_tiny_patch14_224", SMALL),
    "FasterNet": ("fasternet_t0", 64),
    "FastVit": ("fastvit_t8", 64),
    "FocalNet": (timm.models.focalnet.FocalNet, dict(embed_dim=8, depths=(1, 1, 1, 1))),
    "GhostNet": ("ghostnet_050", 64),
    "GlobalContextVit": ("gcvit_xxtiny", {}),
    "Hiera": ("hiera_tiny_224", dict(embed_dim=16, num_heads=1, stages=(1, 1, 1, 1))),
    "HieraDet": (
        "sam2_hiera_tiny",
        (
            64,
            dict(
                embed_dim=16, num_heads=1, stages=(1, 1, 1, 1), global_att_blocks=(), num_classes=5
            ),
        ),
    ),
    "HighPerfGpuNet": ("hgnetv2_b0", 64),
    "HighResolutionNet": ("hrnet_w18_small", 64),
    "IFormer": ("iformer_t", 64),
    "InceptionResnetV2": ("inception_resnet_v2", 96),
    "InceptionV3": ("inception_v3", 96),
    "InceptionV4": ("inception_v4", 96),
    "LCNetV2": ("lcnetv2_small", 64),
    "Levit": ("levit_128s", {}),
    "LowFormer": ("lowformer_b0", 64),
    "MambaOut": ("test_mambaout", 32),
    "MaxxVit": ("test_coatnet", dict(img_size=64)),
    "MetaFormer": (timm.models.metaformer.MetaFormer, dict(depths=(1,) * 4, dims=(8, 8, 16, 16))),
    "MetaNeXt": ("inception_next_atto", 64),
    "MlpMixer": (timm.models.mlp_mixer.MlpMixer, dict(img_size=32, num_blocks=2, embed_dim=16)),
    "MobileNetV3": ("mobilenetv3_small_050", 64),
    "MobileNetV5": ("mobilenetv5_base", (64, dict(use_msfa=False))),
    "MultiScaleVit": ("mvitv2_tiny", {}),
    "NASNetALarge": ("nasnetalarge", (96, dict(stem_size=8, num_features=96))),
    "NaFlexVit": ("naflexvit_base_patch16_gap", (32, dict(embed_dim=16, depth=2, num_heads=2))),
    "Nest": (
        timm.models.nest.Nest,
        dict(img_size=64, embed_dims=(8, 8, 16), num_heads=(1, 1, 2), depths=(1, 1, 1)),
    ),
    "NextViT": ("nextvit_small", 64),
    "NormFreeNet": ("test_nfnet", 32),
    "PNASNet5Large": ("pnasnet5large", 96),
    "PoolingVisionTransformer": (
        "pit_ti_224",
        dict(base_dims=(8, 8, 8), depth=(1, 1, 1), heads=(1, 2, 4)),
    ),
    "PyramidVisionTransformerV2": ("pvt_v2_b0", 64),
    "RDNet": ("rdnet_tiny", 32),
    "RegNet": ("regnetx_002", 64),
    "RepGhostNet": ("repghostnet_050", 64),
    "RepVit": ("repvit_m1", 64),
    "ResNet": ("test_resnet", 32),
    "ResNetV2": (
        timm.models.resnetv2.ResNetV2,
        dict(layers=(1, 1, 1, 1), channels=(128,) * 4, stem_chs=32),
    ),
    "RexNet": ("rexnet_100", 64),
    "SENet": ("legacy_seresnet18", 64),
    "SHViT": ("shvit_s1", 64),
    "SelecSls": ("selecsls42", 64),
    "Sequencer2d": (
        "sequencer2d_s",
        dict(
            img_size=56, layers=(1, 1, 1, 1), embed_dims=(8, 16, 16, 16), hidden_sizes=(4, 8, 8, 8)
        ),
    ),
    "StarNet": ("starnet_s050", 64),
    "SwiftFormer": ("swiftformer_xs", {}),
    "SwinTransformer": ("swin_tiny_patch4_window7_224", SWIN),
    "SwinTransformerV2": ("swinv2_tiny_window8_256", SWIN),
    "SwinTransformerV2Cr": ("swinv2_cr_tiny_224", SWIN),
    "TNT": (
        "tnt_s_legacy_patch16_224",
        dict(embed_dim=16, inner_dim=4, depth=2, num_heads_outer=2, num_heads_inner=2),
    ),
    "TResNet": ("tresnet_m", (64, dict(layers=(1, 1, 1, 1), width_factor=0.25))),
    "TinyVit": ("tiny_vit_5m_224", 64),
    "Twins": (
        "twins_svt_small",
        dict(img_size=64, embed_dims=(8, 8, 16, 16), num_heads=(1, 1, 2, 2), depths=(1, 1, 1, 1)),
    ),
    "VGG": (
        timm.models.vgg.VGG,
        dict(cfg=(8, "M", 8, "M", 16, "M", 16, "M", 16, "M"), mlp_ratio=0.01),
    ),
    "VOLO": ("volo_d1_224", {}),
    "VisionTransformer": ("vit_tiny_patch16_224", SMALL),
    "VisionTransformerRelPos": ("vit_relpos_small_patch16_224", SMALL),
    "VisionTransformerSAM": (
        "samvit_base_patch16_224",
        SMALL | dict(img_size=32, global_attn_indexes=(1,), neck_chans=16),
    ),
    "Visformer": (
        "visformer_tiny",
        dict(embed_dim=32, depth=(1, 1, 1), num_heads=2, init_channels=8),
    ),
    "VovNet": ("ese_vovnet19b_slim_dw", 64),
    "Xception": ("legacy_xception", 64),
    "XceptionAligned": ("xception41", 64),
    "Xcit": ("xcit_nano_12_p16_224", SMALL),
}


def timm_model(family: str, **more) -> nn.Module:
    name, small = TIMM[family]
    side, options = small if isinstance(small, tuple) else (None, small)
    if isinstance(small, int):
        side, options = small, {}
    if side:
        options = options | dict(pretrained_cfg_overlay=dict(input_size=(3, side, side)))
    torch.manual_seed(0)
    build = name if isinstance(name, type) else partial(timm.create_model, name)
    return build(**options | more).eval()


def settled(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The model with batch statistics that fit its random weights, so that values neither explode
    nor vanish."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        model.train()(x) if norms else None
    return model.eval()


def torchvision_model(family: str) -> nn.Module:
    torch.manual_seed(0)
    return TORCHVISION[family]().eval()


def small_vgg() -> nn.Module:
    model = tv.VGG(tv.vgg.make_layers([8, "M", 8, "M", 16, "M", 16, "M", 16, "M"]))
    model.classifier = nn.Sequential(nn.Linear(16 * 49, 16), nn.ReLU(), nn.Linear(16, 5))
    return model


def small_alexnet() -> nn.Module:
    model = tv.AlexNet()
    model.classifier = nn.Sequential(nn.Linear(256 * 36, 16), nn.ReLU(), nn.Linear(16, 5))
    return model


def small_vit(**more) -> nn.Module:
    model = tv.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=5, **more)
    nn.init.normal_(model.heads.head.weight)  # torchvision begins at 0
    return model


def small_swin(**more) -> nn.Module:
    return tv.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4], num_classes=5, **more)


TORCHVISION = {
    "ResNet": lambda: tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5),
    "ConvNeXt": lambda: tv.ConvNeXt(
        [tv.convnext.CNBlockConfig(8, 16, 1), tv.convnext.CNBlockConfig(16, None, 1)],
        num_classes=5,
    ),
    "VisionTransformer": small_vit,
    "SwinTransformer": small_swin,
    "EfficientNet": lambda: tv.EfficientNet(
        [
            tv.efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1, 1, 1),
            tv.efficientnet.MBConvConfig(4, 3, 2, 8, 16, 1, 1, 1),
        ],
        0.2,
        num_classes=5,
    ),
    "MobileNetV2": lambda: tv.MobileNetV2(num_classes=5, width_mult=0.1),
    "MobileNetV3": lambda: tv.mobilenet_v3_small(num_classes=5),
    "RegNet": lambda: tv.regnet_y_400mf(num_classes=5),
    "VGG": small_vgg,
    "AlexNet": small_alexnet,
    "DenseNet": lambda: tv.DenseNet(4, (1, 2, 1, 1), 8, num_classes=5),
    "MNASNet": lambda: tv.MNASNet(0.1, num_classes=5),
    "ShuffleNetV2": lambda: tv.ShuffleNetV2([1, 1, 1], [8, 16, 16, 32, 32], num_classes=5),
    "GoogLeNet": lambda: tv.GoogLeNet(num_classes=5, transform_input=True, init_weights=False),
    "Inception3": lambda: tv.Inception3(num_classes=5, transform_input=True, init_weights=False),
    "MaxVit": lambda: tv.MaxVit((64, 64), 8, 2, [8, 16], [1, 1], 8, 0.1, num_classes=5),
    "SqueezeNet": lambda: tv.SqueezeNet("1_1", num_classes=5),
}

TEXT = dict(width=16, heads=2, layers=1)
VIT = dict(image_size=32, patch_size=16, width=16, head_width=8, layers=2)
TRUNK = dict(image_size=160, timm_pool="")
POOLER = VIT | dict(attentional_pool=True, attn_pooler_heads=2, attn_pooler_queries=3)

# what makes each tower special -> its configuration
OPEN_CLIP = {
    "VisionTransformer": VIT,
    "VisionTransformer, layer scale, no norm in front": VIT
    | dict(ls_init_value=0.1, no_ln_pre=True),
    "VisionTransformer, tokens beside": VIT | dict(output_tokens=True),
    "VisionTransformer, mean": VIT | dict(pool_type="avg"),
    "VisionTransformer, mean, then norm": VIT | dict(pool_type="avg", final_ln_after_pool=True),
    "VisionTransformer, custom blocks": VIT | dict(qk_norm=True, scale_fc=True),
    "VisionTransformer, not square": VIT | dict(image_size=(32, 48)),
    "VisionTransformer, CoCa": POOLER | dict(output_tokens=True),
    "VisionTransformer, two poolers": POOLER | dict(attentional_pool="parallel"),
    "VisionTransformer, poolers in a row": POOLER | dict(attentional_pool="cascade"),
    "ModifiedResNet": dict(image_size=64, layers=(1, 1, 1, 1), width=8, head_width=16),
    "TimmModel, ViT": TRUNK | dict(timm_model_name="test_vit", timm_pool="token"),
    "TimmModel, SigLIP": TRUNK
    | dict(timm_model_name="test_vit", timm_pool="map", timm_proj="none"),
    "TimmModel, EVA02": dict(
        image_size=224, timm_model_name="eva02_tiny_patch14_224", timm_pool="token", timm_proj=None
    ),
    "TimmModel, ConvNeXt": TRUNK | dict(timm_model_name="test_convnext", timm_proj="mlp"),
    "TimmModel, MobileCLIP": dict(
        image_size=256, timm_model_name="fastvit_t8", timm_pool="avg", timm_proj=None
    ),
    "TimmModel, ResNet with attention": dict(
        image_size=224, timm_model_name="resnet10t", timm_pool="abs_attn", timm_proj=None
    ),
}


def open_clip_model(kind: str, **more) -> nn.Module:
    torch.manual_seed(0)
    return open_clip.model.CLIP(16, OPEN_CLIP[kind], TEXT, **more).eval()
