"""The text towers of open_clip models, with their splits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..types import SPECIAL, Parts, TextEncoder
from .hf_text import FAMILIES, is_decoder, pieces
from .text import (
    LARGEST,
    PROBE,
    Encode,
    EncodeCalled,
    SpellClip,
    SpellOne,
    Tail,
    Tokenize,
    end_token,
    first_token,
    last_token,
    lengthened,
    mean_token,
    never_words,
    pad_of,
    padded,
    special_of,
    spelling,
    surround,
    weighted,
)
from .wrapping import chain, checked, dtype_of

NOT_TEXT = ("visual.", "logit_", "text_decoder.")  # weights of an open_clip model
POOLS = {"argmax": end_token, "eos": end_token, "last": last_token, "first": first_token}
HF_POOLS = {
    "MeanPooler": mean_token,
    "ClsPooler": first_token,
    "ClsLastHiddenStatePooler": first_token,
}


def text_tower(model, tokenizer, device, name) -> TextEncoder:
    """The text side of an open_clip model. Without a split where the kit does not know the tower or
    how its tokenizer arranges texts."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its text tower apart, CLIP does not
    weights = {n: p for n, p in model.named_parameters() if not n.startswith(NOT_TEXT)}
    shared = dict(name=name, device=device, weights=weights)
    build = hf_tower if type(text).__name__ == "HFTextEncoder" else own_tower
    return checked(build(model, text, tokenizer, shared), PROBE)


def features(out) -> Tensor:
    """A tower's embedding, which stands before its tokens where it gives both."""
    return out[0] if isinstance(out, tuple) else out


def encode_text(model, ids: Tensor) -> Tensor:
    """The library's own embedding of token ids, not normalised."""
    if hasattr(model, "text"):
        return features(model.text(ids))
    return features(model.encode_text(ids))


@dataclass(frozen=True)
class WholeText:
    """The library's own forward pass: texts -> (B, D), ids padded to `length`."""

    model: nn.Module
    tokenize: Tokenize
    length: int | None

    def __call__(self, texts) -> Tensor:
        ids, _ = padded(self.tokenize.read(texts)[0], self.tokenize.pad, self.length)
        return encode_text(self.model, ids.to(self.tokenize.device))


@dataclass(frozen=True)
class AsCalled:
    """The library's own forward pass on ids as the tokenizer arranges them."""

    model: nn.Module
    tokenize: Tokenize
    tokenizer: Callable

    def __call__(self, texts) -> Tensor:
        self.tokenize.read(texts)
        return encode_text(self.model, self.tokenizer(list(texts)).to(self.tokenize.device))


def tokens_of(tokenizer, device, size: int, end, pad: int | None) -> Tokenize:
    """How an open_clip tokenizer cuts texts for this tower; `end` as in Encode, `pad` None: its
    own."""
    if (hf := getattr(tokenizer, "tokenizer", None)) is not None:
        clean = getattr(tokenizer, "clean_fn", clean_siglip)
        swap = (hf.sep_token_id, 0) if getattr(tokenizer, "strip_sep_token", False) else None
        encode = Encode(hf, tokenizer.context_length, clean, end, swap)
        spell, special, never = spelling(hf), special_of(hf), never_words(hf)
        pad = pad_of(hf) if pad is None else pad
    else:
        encode, pad = EncodeCalled(tokenizer, LARGEST if end is None else end), pad or 0
        bare, special = getattr(tokenizer, "encode", None), SPECIAL
        if bare is not None:
            special = surround(encode(PROBE[:1])[0][0], bare(PROBE[0]))
        spell = SpellClip(tokenizer) if hasattr(tokenizer, "decoder") else SpellOne(tokenizer)
        never = frozenset(getattr(tokenizer, "all_special_ids", ()))
    vocabulary = getattr(tokenizer, "vocab_size", None) if hf is None else hf.vocab_size
    if (vocabulary or 0) > size:
        raise ValueError(
            f"tokenizer does not fit the model: it has {vocabulary} ids, and the text tower knows"
            f" {size}"
        )
    return Tokenize(encode, spell, special, never, size, pad, device)


def clean_siglip(text: str) -> str:
    """What open_clip's SigLipTokenizer does to a text before it cuts it."""
    from open_clip.tokenizer import basic_clean, canonicalize_text

    return canonicalize_text(basic_clean(text))


def own_tower(model, text, tokenizer, shared: dict) -> TextEncoder:
    """open_clip's own text transformers: CLIP's, SigLIP's, MobileCLIP's and CoCa's."""
    pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
    causal, cls = getattr(text, "attn_mask", None), getattr(text, "cls_emb", None)
    masked = getattr(text, "use_pad_mask", False)
    eos = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
    end = {"argmax": LARGEST, "eos": eos}.get(pool)
    end = LARGEST if cls is not None else end
    table, length = text.token_embedding, text.context_length
    pad = text.pad_id if masked or cls is not None else None
    tokenize = tokens_of(tokenizer, shared["device"], table.num_embeddings, end, pad)
    dtype = text.transformer.get_cast_dtype()
    shared = dict(shared, dtype=dtype)
    arranged = getattr(tokenizer, "tokenizer_mode", "")
    if pool not in POOLS or arranged or (masked and pool == "last"):
        why = f"its text tower ({type(text).__name__}, {pool} pooling"
        why += f", {arranged} tokens)" if arranged else ")"
        why += " reads texts off in a way that the kit does not know"
        return TextEncoder(
            **shared,
            whole=AsCalled(model, tokenize, tokenizer),
            tokenize=tokenize,
            special=tokenize.special,
            no_split=why,
        )
    whole = WholeText(model, tokenize, length)
    layers = tuple(text.transformer.resblocks)
    after = partial(projected, text)
    if cls is not None:
        parts, tokenize = coca_parts(text, tokenize, length)
        sees_padding = False
    else:
        sees_padding = pool == "last" or (causal is None and not masked)
        stem = Stem(table, text.positional_embedding, dtype, length, tokenize.pad, sees_padding)
        blocks = tuple(Block(layer, causal, masked) for layer in layers)
        parts = Parts(stem, blocks, Tail(text.ln_final, POOLS[pool], after), layers)
        if sees_padding:
            tokenize = replace(tokenize, length=length)
    blank = getattr(tokenizer, "eot_token_id", tokenize.pad) if causal is not None else tokenize.pad
    return TextEncoder(
        **shared,
        whole=whole,
        parts=parts,
        tokenize=tokenize,
        special=tokenize.special,
        blank=blank,  # of CLIP its end-of-text token, which its first release pads with
        causal=causal is not None,
        sees_padding=sees_padding,
    )


def projected(text, h: Tensor) -> Tensor:
    """(B, width) -> (B, D), as the tower has it."""
    if text.text_projection is None:
        return h
    if isinstance(text.text_projection, nn.Module):
        return text.text_projection(h)
    return h @ text.text_projection


@dataclass(frozen=True)
class Stem:
    """Token ids (B, T) -> the first latent, as Parts says; filled up to `length` where the tower
    sees its padding."""

    words: nn.Embedding
    positions: Tensor
    dtype: torch.dtype
    length: int
    pad: int
    sees_padding: bool

    def __call__(self, ids, weight=None, blank=None) -> Tensor:
        length = self.length if self.sees_padding else None
        ids, weight = lengthened(ids, weight, length, self.pad)
        x = weighted(self.words, ids, weight, blank).to(self.dtype)
        return x + self.positions[: ids.shape[1]].to(self.dtype)


@dataclass(frozen=True)
class Block:
    """A block of a text tower with the mask that it needs: (z, valid) -> z.

    causal  (L, L), added to attention scores, or None
    masked  padding is hidden
    """

    layer: nn.Module
    causal: Tensor | None
    masked: bool

    def __call__(self, z: Tensor, valid: Tensor) -> Tensor:
        t = z.shape[1]
        mask = None if self.causal is None else self.causal[:t, :t]
        if self.masked:
            mask = per_head(self.layer, ~valid[:, None].expand(-1, t, -1), z)
        return self.layer(z, attn_mask=mask)


def per_head(layer, unseen: Tensor, z: Tensor) -> Tensor:
    """Which token (row) may not look at which (column), (B, T, T) bool, as open_clip's attention
    takes it: the lowest number there, (B heads, T, T)."""
    mask = torch.zeros_like(unseen, dtype=z.dtype).masked_fill(unseen, torch.finfo(z.dtype).min)
    return mask.repeat_interleave(layer.attn.num_heads, 0)


def coca_parts(text, tokenize: Tokenize, length: int) -> tuple[Parts, Tokenize]:
    """The pieces of a tower that reads texts off at a class token behind all places (CoCa, Yu et
    al. 2022).

    Of the padding the class token sees at most the first place, and nothing else sees any, so that
    a text is its own tokens, that place and the class token. The released towers hide from the
    class token itself instead of the last place of padding (`correct_cls_mask` False).
    """
    mark = text.token_embedding.num_embeddings  # an id for the class token
    extra = (mark,) if text.correct_cls_mask else (text.pad_id, mark)
    front, behind = tokenize.special
    layers = text.transformer.resblocks
    parts = Parts(
        stem=CocaStem(text, mark),
        blocks=tuple(CocaBlock(layer, text.correct_cls_mask, length) for layer in layers),
        tail=Tail(nn.Identity(), end_token, chain([text.ln_final, partial(projected, text)])),
        modules=tuple(layers),
    )
    return parts, replace(tokenize, extra=extra, special=(front, behind + len(extra)))


@dataclass(frozen=True)
class CocaStem:
    """Token ids -> the first latent; the id `mark` is the class token, at the last position."""

    text: nn.Module
    mark: int

    def __call__(self, ids, weight=None, blank=None) -> Tensor:
        dtype, last = self.text.transformer.get_cast_dtype(), self.text.num_pos - 1
        own = (ids == self.mark)[..., None]
        x = weighted(self.text.token_embedding, ids.masked_fill(own[..., 0], 0), weight, blank)
        x = torch.where(own, self.text.cls_emb.to(x), x).to(dtype)
        places = torch.arange(ids.shape[1], device=ids.device).clamp(max=last - 1)
        positions = self.text.positional_embedding.to(dtype)
        return x + torch.where(own, positions[last], positions[places])


class CocaBlock(nn.Module):
    """A block of CoCa's text tower: (z, valid) -> z, the last real token being the class token."""

    def __init__(self, layer: nn.Module, correct: bool, length: int):
        super().__init__()
        self.layer, self.correct, self.length = layer, correct, length

    def unseen(self, valid: Tensor) -> Tensor:
        """Which token (row) may not look at which (column), (B, T, T) bool."""
        t, last = valid.shape[1], valid.sum(1) - 1
        unseen = ~valid[:, None].expand(-1, t, -1)
        unseen = unseen | torch.ones_like(unseen).triu(1)
        if not self.correct:  # in a text without padding it sees itself
            hidden = torch.where(last == self.length + 1, last - 1, last)
            row = torch.arange(len(valid), device=valid.device)
            unseen[row, last, hidden] = True
        return unseen

    def forward(self, z: Tensor, valid: Tensor) -> Tensor:
        return self.layer(z, attn_mask=per_head(self.layer, self.unseen(valid), z))


def hf_tower(model, text, tokenizer, shared: dict) -> TextEncoder:
    """A tower that open_clip takes from transformers (RoBERTa, XLM-R)."""
    tower, pool = text.transformer, HF_POOLS.get(type(text.pooler).__name__)
    family, pad = FAMILIES.get(type(tower).__name__), text.config.pad_token_id
    known = tower.get_input_embeddings().num_embeddings
    tokenize = tokens_of(tokenizer, shared["device"], known, None, pad)
    is_split = family is not None and pool is not None
    causal = is_split and is_decoder(tower)
    finish = [text.proj]
    if type(text.pooler).__name__ == "ClsPooler" and text.pooler.use_pooler_output:
        pooler = getattr(tower, "pooler", None)
        finish = [text.proj] if pooler is None else [partial(pooled, pooler), text.proj]
    return TextEncoder(
        **shared,
        dtype=dtype_of(text),
        whole=WholeText(model, tokenize, None),
        parts=pieces(tower, replace(family, read=pool), causal, tokenize, finish)
        if is_split
        else None,
        no_split=(
            f"its text tower is a {type(tower).__name__} with a {type(text.pooler).__name__}, which"
            " models/hf_text.py has no row for"
        ),
        tokenize=tokenize,
        special=tokenize.special,
        blank=tokenize.pad,
        causal=causal,
    )


def pooled(pooler: nn.Module, h: Tensor) -> Tensor:
    """What a transformers pooler makes of the first token's state (B, width)."""
    return pooler(h[:, None])
