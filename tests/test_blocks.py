"""Every kind of transformer block that the kit takes apart: its pieces are the library's own block,
and all attention methods run on it."""

import copy
from dataclasses import dataclass, replace
from functools import partial

import pytest
import timm
import torch
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock
from planted import seeded
from timm.layers import GluMlp, RelPosBias, SwiGLU
from timm.models import beit, cait, eva, vision_transformer, vision_transformer_relpos
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock
from transformers.models.albert import modeling_albert as albert
from transformers.models.beit import modeling_beit as hf_beit
from transformers.models.bert import modeling_bert as bert
from transformers.models.camembert import modeling_camembert as camembert
from transformers.models.chinese_clip import modeling_chinese_clip as chinese_clip
from transformers.models.clip import modeling_clip as clip
from transformers.models.deit import modeling_deit as deit
from transformers.models.dinov2 import modeling_dinov2 as dinov2
from transformers.models.dinov2_with_registers import modeling_dinov2_with_registers as dinov2r
from transformers.models.dinov3_vit import modeling_dinov3_vit as dinov3
from transformers.models.distilbert import modeling_distilbert as distilbert
from transformers.models.electra import modeling_electra as electra
from transformers.models.metaclip_2 import modeling_metaclip_2 as metaclip_2
from transformers.models.mpnet import modeling_mpnet as mpnet
from transformers.models.roberta import modeling_roberta as roberta
from transformers.models.siglip import modeling_siglip as siglip
from transformers.models.siglip2 import modeling_siglip2 as siglip2
from transformers.models.vit import modeling_vit as vit
from transformers.models.xlm_roberta import modeling_xlm_roberta as xlm_roberta

from xai_utils.methods import (
    ag_cam,
    attention_fast_ig,
    attention_rollout,
    attention_saliency,
    chefer,
    chefer_lrp,
    legrad,
)
from xai_utils.models.attention import attention_blocks
from xai_utils.models.dissection import dissect
from xai_utils.types import ImageEncoder, Parts, TextEncoder

WIDTH, GRID, TOKENS = 16, (3, 4), 13
METHODS = [attention_rollout, chefer, ag_cam, legrad, attention_saliency, attention_fast_ig]


# --- the blocks, with random weights


@dataclass(frozen=True)
class Given:
    """A block that needs more than the latent."""

    module: nn.Module
    rope: object = None
    bias: object = None
    resolution: object = None

    def __call__(self, z, mask=None):
        if self.resolution is not None:
            return self.module(z, mask, resolution=self.resolution)
        if self.bias is not None:
            bias = self.bias(z) if callable(self.bias) else self.bias
            return self.module(z, mask, position_bias=bias)[0]
        if isinstance(self.rope, tuple):
            return self.module(z, position_embeddings=self.rope)
        return self.module(z, rope=self.rope)


@dataclass(frozen=True)
class Told:
    """A block that gets keyword arguments, computed at every call."""

    module: nn.Module
    keywords: dict
    model: object = None
    k: int = 0

    def told(self, model, k):
        return self.keywords

    def __call__(self, z):
        return self.module(z, **self.told(self.model, self.k))


def hf(layer, config, **options):
    size = dict(hidden_size=WIDTH, num_attention_heads=2, intermediate_size=24)
    c = config(**size | options)
    c._attn_implementation = "sdpa"
    return layer(c)


def timm_rope(kind="eva", prefix=1, heads=(), **options):
    block = eva.EvaBlock(WIDTH, 2, num_prefix_tokens=prefix, attn_type=kind, **options)
    return Given(block, rope=torch.randn(*heads, TOKENS - prefix, WIDTH))


def mpnet_layer():
    config = mpnet.MPNetConfig(hidden_size=WIDTH, num_attention_heads=2, intermediate_size=24)
    encoder = mpnet.MPNetEncoder(config)
    return Given(encoder.layer[0], bias=encoder.compute_position_bias)


TimmBlock = partial(vision_transformer.Block, WIDTH, 2)
BeitBlock = partial(beit.Block, WIDTH, 2, qkv_bias=True, window_size=GRID)
IMAGE = {
    "timm": lambda: TimmBlock(qkv_bias=True),
    "timm, DeiT3's layer scale": lambda: TimmBlock(init_values=0.5),
    "timm, qk_norm and scale_norm": lambda: TimmBlock(
        qk_norm=True, scale_attn_norm=True, scale_mlp_norm=True
    ),
    "timm EVA": lambda: eva.EvaBlock(WIDTH, 2, init_values=0.5),
    "timm EVA02, rope": lambda: timm_rope(qkv_fused=False, scale_attn_inner=True),
    "timm Eva, rope of each head": lambda: timm_rope("rope", heads=(2,), qk_norm=True),
    "timm DINOv3": lambda: timm_rope(prefix=5, init_values=0.5, rotate_half=True, qkv_bias=False),
    "timm PE": lambda: timm_rope("rope", qkv_fused=False),
    "timm BEiT": lambda: BeitBlock(init_values=0.5),
    "timm BEiT, shared bias": lambda: Told(
        beit.Block(WIDTH, 2), dict(shared_rel_pos_bias=torch.randn(1, 2, TOKENS, TOKENS))
    ),
    "timm, relative positions": lambda: vision_transformer_relpos.RelPosBlock(
        WIDTH, 2, rel_pos_cls=partial(RelPosBias, window_size=GRID, prefix_tokens=1)
    ),
    "timm BEiT without a bias": lambda: beit.Block(WIDTH, 2),
    "open_clip": lambda: ResidualAttentionBlock(WIDTH, 2, ls_init_value=0.5),
    "open_clip's own attention": lambda: CustomResidualAttentionBlock(
        WIDTH, 2, qk_norm=True, scale_attn_inner=True, scale_attn=True, scale_fc=True
    ),
    "torchvision": lambda: EncoderBlock(2, WIDTH, 24, 0.0, 0.0),
    "ViT": lambda: hf(vit.ViTLayer, vit.ViTConfig),
    "DeiT": lambda: hf(deit.DeiTLayer, deit.DeiTConfig),
    "BEiT": lambda: Given(
        hf(
            hf_beit.BeitLayer,
            hf_beit.BeitConfig,
            image_size=(24, 32),
            patch_size=8,
            use_relative_position_bias=True,
        ),
        resolution=(24, 32),
    ),
    "BEiT without a bias": lambda: hf(
        hf_beit.BeitLayer, hf_beit.BeitConfig, layer_scale_init_value=0.0
    ),
    "DINOv2": lambda: hf(dinov2.Dinov2Layer, dinov2.Dinov2Config),
    "DINOv2 with registers": lambda: hf(
        dinov2r.Dinov2WithRegistersLayer, dinov2r.Dinov2WithRegistersConfig
    ),
    "DINOv3": lambda: Given(
        hf(dinov3.DINOv3ViTLayer, dinov3.DINOv3ViTConfig),
        rope=(torch.randn(TOKENS - 5, WIDTH // 2), torch.randn(TOKENS - 5, WIDTH // 2)),
    ),
}
GATED = {
    "timm GLU": lambda: TimmBlock(mlp_layer=GluMlp),
    "timm SwiGLU": lambda: TimmBlock(mlp_layer=SwiGLU),
    "timm EVA02, SwiGLU": lambda: timm_rope(swiglu_mlp=True, scale_mlp=True),
    "timm EVA02, packed SwiGLU": lambda: timm_rope(swiglu_mlp=True),
    "DINOv2, SwiGLU": lambda: hf(dinov2.Dinov2Layer, dinov2.Dinov2Config, use_swiglu_ffn=True),
    "DINOv3, gated": lambda: Given(
        hf(dinov3.DINOv3ViTLayer, dinov3.DINOv3ViTConfig, use_gated_mlp=True),
        rope=(torch.randn(TOKENS - 1, WIDTH // 2), torch.randn(TOKENS - 1, WIDTH // 2)),
    ),
}
TEXT = {
    "CLIP": lambda: hf(clip.CLIPEncoderLayer, clip.CLIPTextConfig),
    "SigLIP": lambda: hf(siglip.SiglipEncoderLayer, siglip.SiglipTextConfig),
    "SigLIP 2": lambda: hf(siglip2.Siglip2EncoderLayer, siglip2.Siglip2TextConfig),
    "BERT": lambda: hf(bert.BertLayer, bert.BertConfig),
    "RoBERTa": lambda: hf(roberta.RobertaLayer, roberta.RobertaConfig),
    "XLM-R": lambda: hf(xlm_roberta.XLMRobertaLayer, xlm_roberta.XLMRobertaConfig),
    "CamemBERT": lambda: hf(camembert.CamembertLayer, camembert.CamembertConfig),
    "ELECTRA": lambda: hf(electra.ElectraLayer, electra.ElectraConfig),
    "Chinese CLIP": lambda: hf(
        chinese_clip.ChineseCLIPTextLayer, chinese_clip.ChineseCLIPTextConfig
    ),
    "MetaCLIP 2": lambda: hf(metaclip_2.MetaClip2EncoderLayer, metaclip_2.MetaClip2TextConfig),
    "ALBERT": lambda: hf(albert.AlbertLayerGroup, albert.AlbertConfig),
    "MPNet": mpnet_layer,
    "DistilBERT": lambda: hf(
        distilbert.TransformerBlock,
        distilbert.DistilBertConfig,
        dim=WIDTH,
        n_heads=2,
        hidden_dim=24,
        intermediate_size=0,
    ),
}
ALL = IMAGE | GATED | TEXT


def made(name: str, seed: int = 0):
    """A block of a kind with weights away from their small start, and its module."""

    def make():
        block = ALL[name]()
        module = getattr(block, "module", block).eval().requires_grad_(False)
        for p in module.parameters():
            p.data.copy_(torch.randn(p.shape) * (0.4 if p.ndim > 1 else 0.7))
        return block

    return seeded(make, seed)


def pieces_of(block):
    return dissect(
        getattr(block, "module", block), block if isinstance(block, (Given, Told)) else None
    )


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ALL)
def test_a_block_in_pieces_is_the_block(name):
    block, z = made(name), noise(2, TOKENS, WIDTH)
    with torch.no_grad():
        out, attention, _ = pieces_of(block)(z, None)
        whole = block(z, None) if name in TEXT else block(z)
    assert torch.allclose(out, whole, rtol=1e-5, atol=1e-5)
    assert torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5)
    assert attention.var(-2).mean() > 1e-6  # tokens do not all look alike


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("causal", [False, True])
def test_a_text_block_in_pieces_is_the_block_with_a_mask(name, causal):
    block, z = made(name), noise(2, 6, WIDTH)
    valid = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    allowed = valid[:, None, None, :].expand(-1, 1, 6, -1)
    allowed = allowed.tril() if causal else allowed
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    with torch.no_grad():
        out, attention, _ = pieces_of(block)(z, allowed)
        assert torch.allclose(out[valid], block(z, mask)[valid], rtol=1e-5, atol=1e-5)
    assert (attention.masked_select(~allowed) == 0).all()


# --- encoders of such blocks


class Stem(nn.Module):
    """Pictures (24, 32) -> 13 tokens, the first the class's."""

    def __init__(self):
        super().__init__()
        self.embed, self.front = nn.Conv2d(3, WIDTH, 8, 8), nn.Parameter(torch.randn(1, 1, WIDTH))

    def forward(self, x):
        patches = self.embed(x).flatten(2).mT
        return torch.cat([self.front.expand(len(x), -1, -1), patches], 1)


@dataclass(frozen=True)
class Take:
    """The class token, or the mean of the patches."""

    mean: bool = False

    def __call__(self, n):
        return n[:, 1:].mean(1) if self.mean else n[:, 0]


def run(steps, x):
    for step in steps:
        x = step(x)
    return x


def pictures(blocks, *, norm=None, pool=Take(), after=None, head=None, last=True, dtype=None):
    """An image encoder of blocks: stem, blocks, norm, pool, after, head."""
    stem = seeded(lambda: Stem().requires_grad_(False))
    norm = nn.LayerNorm(WIDTH) if norm is None else norm
    readout = partial(run, [pool, after or nn.Identity()])
    head = seeded(lambda: nn.Linear(WIDTH, 3)) if head is None else head
    for m in (stem, norm, after, head):
        if isinstance(m, nn.Module):
            m.requires_grad_(False).to(dtype or torch.float32)
    parts = Parts(
        stem,
        tuple(blocks),
        partial(run, [norm, readout]),
        tuple(getattr(b, "module", b) for b in blocks),
        (norm, readout) if last else None,
    )
    return ImageEncoder(
        name="small",
        device=torch.device("cpu"),
        whole=None,
        dim=WIDTH,
        parts=parts,
        image_size=(24, 32),
        transform=None,
        head=head,
        tokens=(1, GRID),
        dtype=dtype or torch.float32,
    )


@dataclass(frozen=True)
class Masked:
    """A text block (z, valid) around a transformers layer."""

    module: object
    causal: bool

    def __call__(self, z, valid):
        allowed = valid[:, None, None, :].expand(-1, 1, z.shape[1], -1)
        allowed = allowed.tril() if self.causal else allowed
        low = torch.finfo(z.dtype).min
        return self.module(z, torch.zeros_like(allowed, dtype=z.dtype).masked_fill(~allowed, low))


@dataclass(frozen=True)
class MaskedBias:
    """The same around MPNet's, which is also given its bias."""

    module: object
    bias: object

    def __call__(self, z, valid):
        return Masked(Given(self.module, bias=self.bias), False)(z, valid)


def tokenize(texts):
    words = [["[", *text.split(), "]"] for text in texts]
    longest = max(map(len, words))
    valid = torch.tensor([[i < len(row) for i in range(longest)] for row in words])
    ids = torch.tensor(
        [[sum(map(ord, w)) % 50 for w in row] + [0] * (longest - len(row)) for row in words]
    )
    return ids, valid, [row[1:-1] for row in words]


@dataclass(frozen=True)
class Words:
    table: Tensor

    def __call__(self, ids, weight=None, blank=None):
        return self.table[ids]


def last_of(z, valid):
    return z[torch.arange(len(z)), valid.sum(1) - 1]


def mean_of(z, valid):
    return (z * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)


def texts_of(blocks, causal):
    blocks = [
        MaskedBias(b.module, b.bias) if isinstance(b, Given) else Masked(b, causal) for b in blocks
    ]
    parts = Parts(
        Words(noise(50, WIDTH)),
        tuple(blocks),
        last_of if causal else mean_of,
        tuple(b.module for b in blocks),
    )
    return TextEncoder(
        name="small text",
        device=torch.device("cpu"),
        whole=None,
        dim=WIDTH,
        parts=parts,
        tokenize=tokenize,
        causal=causal,
    )


def check_maps(method, encoder, inputs, targets, others):
    a, b = method(encoder, inputs, targets).map, method(encoder, inputs, others).map
    for row, other in zip(a, b):
        row, other = row[~row.isnan()], other[~other.isnan()]
        assert row.isfinite().all() and row.std() > 1e-3 * row.abs().max() > 0
        differ = (row - other).abs().max() > 1e-3 * row.abs().max()
        assert differ == (method is not attention_rollout)


@pytest.mark.parametrize("name", IMAGE | GATED)
def test_every_method_runs_on_pictures(name):
    encoder = pictures([made(name, seed) for seed in range(2)])
    x, classes = noise(2, 3, 24, 32), torch.tensor([0, 1])
    for method in METHODS + ([] if name in GATED else [chefer_lrp]):
        check_maps(method, encoder, x, classes, classes + 1)


@pytest.mark.parametrize("name", TEXT)
def test_every_method_runs_on_texts(name):
    encoder = texts_of([made(name, seed) for seed in range(2)], causal=name == "CLIP")
    texts, h = ["a red car", "two small green apples on a table"], noise(2, WIDTH)
    for method in METHODS:
        check_maps(method, encoder, texts, h, noise(2, WIDTH, seed=1))


# --- refusals


@pytest.mark.parametrize("name", GATED)
def test_chefer_lrp_refuses_gated_mlps(name):
    with pytest.raises(ValueError, match="chefer_lrp cannot propagate .* gated.*`chefer`"):
        chefer_lrp(pictures([made(name)]), noise(1, 3, 24, 32), torch.tensor([1]))


def test_chefer_lrp_needs_no_last_where_a_norm_follows_the_pooling():
    """What the end is, is found out: a class token normalised gives the same map with and without
    `last`; so does a norm on the mean, however it is cut."""
    x, classes, block = noise(2, 3, 24, 32), torch.tensor([0, 1]), made("timm")
    given = chefer_lrp(pictures([block]), x, classes).map
    found = chefer_lrp(pictures([block], last=False), x, classes).map
    assert torch.allclose(found, given, rtol=1e-4, atol=1e-4 * float(given.max()))
    for norm in (nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH)):
        norm.weight.data.copy_(torch.linspace(0.5, 1.5, WIDTH))
        end = dict(norm=nn.Identity(), pool=Take(mean=True), after=norm)
        maps = [
            chefer_lrp(pictures([block], last=last, **end), x, classes).map
            for last in (True, False)
        ]
        assert maps[0].max() > 0 and torch.equal(*maps)
        assert not torch.allclose(maps[0], given, rtol=0.1)


@pytest.mark.parametrize(
    "end",
    [
        dict(after=seeded(lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()))),
        dict(after=nn.ReLU()),
        dict(
            pool=Take(mean=True),
            after=seeded(lambda: nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))),
        ),
    ],
)
def test_chefer_lrp_refuses_ends_without_a_rule(end):
    encoder = seeded(lambda: pictures([made("timm")], **end))
    with pytest.raises(ValueError, match="needs a class token or a mean over tokens"):
        chefer_lrp(encoder, noise(1, 3, 24, 32), torch.tensor([1]))
    head = seeded(lambda: nn.Sequential(nn.Linear(WIDTH, 3), nn.ReLU()))
    encoder = pictures([made("timm")], head=head)
    with pytest.raises(ValueError, match="needs a linear head, that of small is not"):
        chefer_lrp(encoder, noise(1, 3, 24, 32), torch.tensor([1]))


class Doubled(vision_transformer.Block):
    def forward(self, x):
        return super().forward(2 * x)


class OtherScale(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 1.01


UNLIKE = {
    "attention and its MLP run side by side": lambda: vision_transformer.ParallelScalingBlock(
        WIDTH, 2
    ),
    "several attentions side by side": lambda: vision_transformer.ParallelThingsBlock(WIDTH, 2),
    "is the difference of two": lambda: TimmBlock(attn_layer="diff"),
    "attention is gated": lambda: eva.EvaBlock(WIDTH, 2, gated_attn=True),
    "share their keys": lambda: eva.EvaBlock(
        WIDTH, 2, attn_type="rope", qkv_fused=False, num_kv_heads=1
    ),
    "heads are mixed": lambda: cait.LayerScaleBlock(WIDTH, 2),
    "block 0, Doubled, gives something else": lambda: Doubled(WIDTH, 2),
    "it has Linear": lambda: nn.Linear(WIDTH, WIDTH),
}


@pytest.mark.parametrize("why", UNLIKE)
def test_a_block_that_is_not_what_its_pieces_show_is_refused(why):
    block = seeded(UNLIKE[why]).eval().requires_grad_(False)
    with pytest.raises(ValueError, match=f"attention cannot be read from small: .*{why}"):
        attention_blocks(pictures([block]))


def test_windowed_attention_is_refused_with_the_reason():
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", depths=(1, 1), embed_dim=12, num_heads=(2, 2)
    )
    with pytest.raises(ValueError, match="Swin.*within windows"):
        attention_blocks(pictures(swin.layers))


def test_rope_that_is_not_given_is_not_left_out_in_silence():
    block = made("timm EVA02, rope")

    def without_a_name(z):
        return block(z)

    encoder = pictures([block])
    parts = replace(encoder.parts, blocks=(without_a_name,))
    with pytest.raises(ValueError, match="EvaBlock, gives something else"):
        attention_blocks(replace(encoder, parts=parts))


def test_replaced_parts_are_used_or_refused():
    """Layers that were replaced are called; where something reads their weight, they are
    refused."""
    plain = made("timm")
    replaced = copy.deepcopy(plain)
    replaced.attn.proj = OtherScale(WIDTH, WIDTH)
    replaced.attn.proj.load_state_dict(plain.attn.proj.state_dict())
    replaced.mlp.act = nn.ReLU()
    z = noise(2, TOKENS, WIDTH)
    with torch.no_grad():
        assert torch.allclose(pieces_of(replaced)(z, None)[0], replaced(z), atol=1e-5)
        assert not torch.allclose(pieces_of(plain)(z, None)[0], replaced(z), atol=1e-3)
    with pytest.raises(ValueError, match="OtherScale where a linear layer is wanted"):
        chefer_lrp(pictures([replaced]), noise(1, 3, 24, 32), torch.tensor([1]))
    beit_like = made("timm BEiT")
    beit_like.attn.qkv = OtherScale(WIDTH, 3 * WIDTH, bias=False)  # only its weight is read
    attention_blocks(pictures([beit_like]))


def test_quantised_layers_are_called_and_lack_a_gradient():
    blocks = torch.ao.quantization.quantize_dynamic(nn.Sequential(made("timm")), {nn.Linear})
    encoder, x, classes = pictures(blocks), noise(1, 3, 24, 32), torch.tensor([1])
    assert attention_rollout(encoder, x, classes).map.std() > 0
    for method in (chefer, legrad, ag_cam, attention_saliency):
        with pytest.raises(ValueError, match="no gradient .* quantised"):
            method(encoder, x, classes)
    with pytest.raises(ValueError, match="where a linear layer is wanted"):
        chefer_lrp(encoder, x, classes)


def test_parts_of_another_kind_are_refused():
    block = made("timm")
    block.attn = nn.Identity()
    with pytest.raises(ValueError, match="attention cannot be read from small: it has Block"):
        attention_blocks(pictures([block]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["timm", "timm BEiT", "timm DINOv3", "open_clip", "ViT"])
def test_other_precisions_give_nearly_the_same_maps(name, dtype):
    x, classes = noise(2, 3, 24, 32), torch.tensor([0, 1])
    block = made(name)
    other = copy.deepcopy(block)
    getattr(other, "module", other).to(dtype)
    if getattr(other, "rope", None) is not None:
        other = replace(other, rope=other.rope.to(dtype))
    full, encoder = pictures([block]), pictures([other], dtype=dtype)
    most = {torch.float16: 0.02, torch.bfloat16: 0.15, torch.float64: 1e-4}[dtype]
    for method in METHODS:
        a, b = method(full, x, classes).map, method(encoder, x, classes).map
        assert b.dtype == torch.float32
        assert (a - b).abs().max() < most * a.abs().max(), method.__name__
    a = chefer_lrp(encoder, x, classes).map  # divides by sums near to 0, so that numbers may differ
    assert a.dtype == torch.float32 and a.isfinite().all() and a.flatten(1).std(1).min() > 0
