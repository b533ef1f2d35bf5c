"""Text encoders of transformers: a row of FAMILIES says where a model keeps its pieces.

The embedding of BERT and what was made after it is the mean over a text's real tokens, as
sentence-transformers pools (Reimers and Gurevych 2019); that of CLIP and SigLIP is the library's
own, pooled and, where the model has it, projected (`get_text_features`), not normalised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..types import Parts, TextEncoder
from .text import (
    LARGEST,
    PROBE,
    Encode,
    Tail,
    Tokenize,
    end_token,
    first_token,
    last_token,
    lengthened,
    mean_token,
    never_words,
    pad_of,
    special_of,
    spelling,
    weighted,
)
from .wrapping import chain, checked, device_of, dtype_of, frozen


@dataclass(frozen=True)
class Family:
    """Where a text model of transformers keeps its pieces, as paths from it.

    embeddings  word embeddings (B, T, width) -> the first latent, positions and all
    blocks      the layers in their order, one path or a function of the model
    read        (z, valid) -> (B, width), how the text is read off
    norm        before it, after a path: what is done behind it
    into        what stands between the embeddings and the first block
    causal      a token sees only those before it
    sees_padding  texts are padded to one length and nothing is masked
    biased      blocks also take a bias for pairs of positions, which they share
    """

    embeddings: str = "embeddings"
    blocks: str | Callable = "encoder.layer"
    read: Callable = mean_token
    norm: str | None = None
    after: str | None = None
    into: str | None = None
    causal: bool = False
    sees_padding: bool = False
    biased: bool = False


def albert_blocks(model) -> list[nn.Module]:
    """ALBERT's layers use the weights of a few groups again and again."""
    groups, depth = model.encoder.albert_layer_groups, model.config.num_hidden_layers
    return [groups[int(i / (depth / len(groups)))] for i in range(depth)]


CLIP = Family(blocks="encoder.layers", read=end_token, norm="final_layer_norm", causal=True)
SIGLIP = Family(
    blocks="encoder.layers",
    read=last_token,
    norm="final_layer_norm",
    after="head",
    sees_padding=True,
)
FAMILIES = {  # by the class of the text tower
    "AlbertModel": Family(blocks=albert_blocks, into="encoder.embedding_hidden_mapping_in"),
    "BertModel": Family(),
    "CamembertModel": Family(),
    "ChineseCLIPTextModel": Family(read=first_token),
    "CLIPTextModel": CLIP,
    "DistilBertModel": Family(blocks="transformer.layer"),
    "ElectraModel": Family(into="embeddings_project"),
    "MPNetModel": Family(biased=True),
    "RobertaModel": Family(),
    "Siglip2TextModel": SIGLIP,
    "SiglipTextModel": SIGLIP,
    "XLMRobertaModel": Family(),
}


def text_encoder(
    model: PreTrainedModel, tokenizer, *, name: str = "text", finish: Callable | None = None
) -> TextEncoder:
    """The text side of a transformers model with its tokenizer (or processor) as a text encoder.

    finish  (B, width) -> (B, D), applied to the embedding (a projection, a normalisation)
    Text models without a row in FAMILIES get no split; their embedding is what get_text_features
    gives, or the mean over the real tokens. Raises ValueError for a tokenizer that does not fit the
    model and for a BERT with cross attention, TypeError for a tokenizer of another library.
    """
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor's
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TypeError(
            f"tokenizer must be a transformers tokenizer, got {type(tokenizer).__name__}: use"
            " transformers.AutoTokenizer.from_pretrained(...)"
        )
    model = with_masks(frozen(model))
    tower = getattr(model, "text_model", model)
    family = FAMILIES.get(type(tower).__name__)
    causal = family is not None and (family.causal or is_decoder(tower))
    tokenize = tokens_of(tower, family, tokenizer)
    finish = nn.Identity() if finish is None else finish
    project = nn.Identity() if tower is model else part(model, "text_projection")
    own = {id(p) for side in (tower, project) for p in side.parameters()}
    encoder = TextEncoder(
        name=name,
        device=device_of(tower),
        dtype=dtype_of(tower),
        whole=Whole(model, tower, family, tokenize, finish),
        parts=family and pieces(tower, family, causal, tokenize, [project, finish]),
        no_split=f"the kit has no row for {type(tower).__name__} in models/hf_text.py",
        tokenize=tokenize,
        special=tokenize.special,
        blank=tokenize.pad,
        causal=causal,
        sees_padding=family is not None and family.sees_padding,
        weights={n: p for n, p in model.named_parameters() if id(p) in own},
    )
    return checked(encoder, PROBE)


def with_masks(model: PreTrainedModel) -> PreTrainedModel:
    """The model with an attention that takes any mask, which flash attention does not."""
    if model.config._attn_implementation not in ("eager", "sdpa"):
        model.set_attn_implementation("sdpa")
    return model


def is_decoder(tower) -> bool:
    """Whether a model of BERT's kind lets a token see only those before it. Raises ValueError where
    it also wants the states of another model."""
    if getattr(tower.config, "add_cross_attention", False):
        raise ValueError(
            f"model is a {type(tower).__name__} with cross attention, which takes the states of"
            " another model besides a text: bring one with add_cross_attention=False"
        )
    return bool(getattr(tower.config, "is_decoder", False))


def tokens_of(tower, family: Family | None, tokenizer) -> Tokenize:
    """How this tokenizer cuts texts for this model. Raises ValueError where they do not fit."""
    table, end = tower.get_input_embeddings(), None
    if family is CLIP:
        end = LARGEST if tower.config.eos_token_id == 2 else tower.config.eos_token_id
    limit = context_length(tower, tokenizer)
    tokenize = Tokenize(
        encode=Encode(tokenizer, limit, end=end),
        spell=spelling(tokenizer),
        special=special_of(tokenizer),
        never=never_words(tokenizer),
        size=table.num_embeddings,
        pad=pad_of(tokenizer),
        device=device_of(tower),
        length=limit if family is not None and family.sees_padding else None,
    )
    if max(tokenizer.vocab_size - 1, tokenize.pad) >= tokenize.size:
        raise ValueError(
            f"tokenizer does not fit the model: it has {tokenizer.vocab_size} ids, and"
            f" {type(tower).__name__} knows {tokenize.size}"
        )
    if family is CLIP:
        check_end(tokenizer, tower.config.eos_token_id)
    return tokenize


def check_end(tokenizer, eos: int) -> None:
    """Raises ValueError where a CLIP would read texts off elsewhere than at their last token."""
    row = tokenizer(PROBE[0])["input_ids"]
    if row.index(max(row) if eos == 2 else eos if eos in row else row[0]) != len(row) - 1:
        raise ValueError(
            f"tokenizer does not fit the model: CLIP reads a text off at its end token, id"
            f" {'the largest' if eos == 2 else eos}, and the ids of {PROBE[0]!r} are {row}"
        )


def context_length(tower, tokenizer) -> int:
    """The most tokens that both a tokenizer and the positions of its model allow."""
    embeddings = getattr(tower, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    table = getattr(embeddings, "position_embedding", None) if table is None else table
    if table is None:
        most = getattr(tower.config, "max_position_embeddings", None) or tokenizer.model_max_length
    else:  # RoBERTa's and MPNet's begin behind that of padding
        most = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return min(int(most), tokenizer.model_max_length)


@dataclass(frozen=True)
class Whole:
    """The library's own forward pass: texts -> (B, D)."""

    model: nn.Module
    tower: nn.Module
    family: Family | None
    tokenize: Tokenize
    finish: Callable

    def __call__(self, texts) -> Tensor:
        ids, valid, _ = self.tokenize(texts)
        padded = self.family is not None and self.family.sees_padding
        mask = {} if padded else dict(attention_mask=valid.long())
        if hasattr(self.model, "get_text_features"):
            out = self.model.get_text_features(input_ids=ids, **mask)
            return self.finish(getattr(out, "pooler_output", out))
        out = self.model(input_ids=ids, **mask)
        if self.family is None or self.family.read is mean_token:
            return self.finish(mean_token(out.last_hidden_state, valid))
        return self.finish(out.text_embeds if "text_embeds" in out else out.pooler_output)


@dataclass(frozen=True)
class Stem:
    """Token ids (B, T) -> the first latent, as Parts says; filled up to `length`."""

    words: nn.Embedding
    embeddings: nn.Module
    into: nn.Module
    length: int | None
    pad: int

    def __call__(self, ids, weight=None, blank=None) -> Tensor:
        ids, weight = lengthened(ids, weight, self.length, self.pad)
        own = weighted(self.words, ids, weight, blank)
        return self.into(self.embeddings(input_ids=None, inputs_embeds=own))


@dataclass(frozen=True)
class Block:
    """A layer of a transformers model with the mask that it needs: (z, valid) -> z.

    pairs  z -> (B, heads, T, T), what MPNet adds to the attention of two positions; else None
    """

    layer: nn.Module
    causal: bool
    sees_padding: bool
    pairs: Callable | None

    def __call__(self, z: Tensor, valid: Tensor) -> Tensor:
        bias = None if self.sees_padding else hidden(valid, z, self.causal)
        out = self.layer(z, bias) if self.pairs is None else self.layer(z, bias, self.pairs(z))
        return out[0] if isinstance(out, tuple) else out


def hidden(valid: Tensor, z: Tensor, causal: bool) -> Tensor:
    """What is added to attention scores, (B, 1, T, T): the lowest number where a token (row) may
    not look (column)."""
    unseen = ~valid[:, None, None, :].expand(-1, 1, z.shape[1], -1)
    if causal:
        unseen = unseen | torch.ones_like(unseen).triu(1)
    return torch.zeros_like(unseen, dtype=z.dtype).masked_fill(unseen, torch.finfo(z.dtype).min)


def pieces(tower, family: Family, causal: bool, tokenize: Tokenize, finish: list) -> Parts:
    """The pieces of a text model, with the steps `finish` behind what it gives."""
    at = family.blocks
    layers = tuple(attrgetter(at)(tower) if isinstance(at, str) else at(tower))
    pairs = tower.encoder.compute_position_bias if family.biased else None
    words, embeddings = tower.get_input_embeddings(), attrgetter(family.embeddings)(tower)
    after = chain([part(tower, family.after), *finish])
    return Parts(
        stem=Stem(words, embeddings, part(tower, family.into), tokenize.length, tokenize.pad),
        blocks=tuple(Block(layer, causal, family.sees_padding, pairs) for layer in layers),
        tail=Tail(part(tower, family.norm), family.read, after),
        modules=layers,
    )


def part(tower, path: str | None) -> nn.Module:
    """What stands at a path, the identity where the model has nothing there."""
    try:
        return attrgetter(path)(tower) if path else nn.Identity()
    except AttributeError:
        return nn.Identity()
