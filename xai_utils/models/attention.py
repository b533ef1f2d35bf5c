"""A transformer block run again in pieces, from its own weights, so that its attention can be
looked at.

Known are the blocks of timm's ViTs, of open_clip's towers and of BERT.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertLayer

from ..types import Encoder, TextEncoder

CLIP_BLOCK = (
    "open_clip.transformer",
    "ResidualAttentionBlock",
)  # by name: to import open_clip takes a second


@dataclass(frozen=True)
class AttentionBlock:
    """heads: z (B, T, width) -> q, k, v, each (B, heads, T, d). after: (z, (B, T, heads d)) -> the
    block's output."""

    heads: Callable
    after: Callable

    def scores(self, q: Tensor, k: Tensor, allowed: Tensor | None) -> Tensor:
        """q k' / sqrt(d), (B, heads, T, T), the lowest number where a token may not look."""
        s = q @ k.mT * q.shape[-1] ** -0.5
        return s if allowed is None else s.masked_fill(~allowed, torch.finfo(s.dtype).min)

    def __call__(self, z: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The block's output, its attention A = softmax(scores) and the scores, all in one
        graph."""
        q, k, v = self.heads(z)
        scores = self.scores(q, k, allowed)
        attention = scores.softmax(-1)
        return self.after(z, (attention @ v).transpose(1, 2).flatten(2)), attention, scores


def attention_blocks(encoder: Encoder) -> list[AttentionBlock]:
    """Every block of an encoder in pieces. Raises ValueError for one that is no transformer or of a
    kind not known."""
    modules = (encoder.parts.modules or encoder.parts.blocks) if encoder.parts else ()
    kinds = {type(m).__name__ for m in modules if dissect(m) is None} or (
        {"no block"} if not modules else ()
    )
    if kinds:
        raise ValueError(
            f"attention cannot be read from {encoder.name}: it has {', '.join(kinds)}, not ViT,"
            " CLIP or BERT blocks"
        )
    return [dissect(m) for m in modules]


def allowed_tokens(encoder: Encoder, valid: Tensor | None) -> Tensor | None:
    """Which token (row) may look at which (column): (B, 1, T, T) bool; None for images, where all
    see all."""
    if not isinstance(encoder, TextEncoder):
        return None
    seen = valid[:, None, None, :].expand(-1, 1, valid.shape[1], -1)
    return seen.tril() if encoder.causal else seen


def dissect(block: nn.Module) -> AttentionBlock | None:
    if type(block) is Block and type(block.attn) is Attention and block.attn.gate is None:
        return timm_block(block)
    if (
        type(block).__module__,
        type(block).__name__,
    ) == CLIP_BLOCK and block.attn.in_proj_weight is not None:
        return clip_block(block)
    if type(block) is BertLayer:
        return bert_block(block)
    return None


def timm_block(block) -> AttentionBlock:
    a = block.attn

    def heads(z):
        q, k, v = (
            a.qkv(block.norm1(z)).unflatten(2, (3, a.num_heads, a.head_dim)).permute(2, 0, 3, 1, 4)
        )
        return a.q_norm(q), a.k_norm(k), v

    def after(z, mixed):
        z = z + block.ls1(a.proj(a.norm(mixed)))
        return z + block.ls2(block.mlp(block.norm2(z)))

    return AttentionBlock(heads, after)


def clip_block(block) -> AttentionBlock:
    a = block.attn

    def heads(z):
        qkv = nn.functional.linear(block.ln_1(z), a.in_proj_weight, a.in_proj_bias)
        return qkv.unflatten(2, (3, a.num_heads, a.head_dim)).permute(2, 0, 3, 1, 4)

    def after(z, mixed):
        z = z + block.ls_1(a.out_proj(mixed))
        return z + block.ls_2(block.mlp(block.ln_2(z)))

    return AttentionBlock(heads, after)


def bert_block(block) -> AttentionBlock:
    a = block.attention.self

    def heads(z):
        shape = (a.num_attention_heads, a.attention_head_size)
        return [part(z).unflatten(2, shape).transpose(1, 2) for part in (a.query, a.key, a.value)]

    def after(z, mixed):
        z = block.attention.output(mixed, z)
        return block.output(block.intermediate(z), z)

    return AttentionBlock(heads, after)
