"""Text encoders of the BERT family: token states averaged over the real tokens."""

from dataclasses import replace

import torch
from torch import nn

from ..types import Parts, TextEncoder, words
from .wrapping import device_of, dtype_of, frozen


def weighted(embed, ids, weight, blank):
    """Word embeddings (B, T, width) of `ids` as Parts says: times `weight`, the part taken away
    filled by the id `blank`."""
    words = embed(ids)
    if weight is None:
        return words
    w = weight[..., None].to(words)
    return words * w if blank is None else words * w + (1 - w) * embed(ids.new_tensor(blank))


def wrap_bert(
    model: nn.Module, tokenizer, *, name: str = "text", finish=lambda h: h
) -> TextEncoder:
    """A transformers BERT with its tokenizer as a text encoder with mean pooling.

    finish  (B, width) -> (B, D), applied to the pooled state (a projection, a normalisation)
    """
    model = frozen(model)
    device = device_of(model)

    def tokenize(texts):
        batch = tokenizer(
            list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt"
        ).to(device)
        ids, valid = batch["input_ids"], batch["attention_mask"].bool()
        tokens = [
            tokenizer.convert_ids_to_tokens(row[own].tolist())
            for row, own in zip(ids, words(valid))
        ]
        return ids, valid, tokens

    def stem(ids, weight=None, blank=None):
        return model.embeddings(
            inputs_embeds=weighted(model.embeddings.word_embeddings, ids, weight, blank)
        )

    def block(layer):
        def run(z, valid):
            bias = torch.zeros_like(valid, dtype=z.dtype).masked_fill(
                ~valid, torch.finfo(z.dtype).min
            )
            return layer(z, bias[:, None, None, :].expand(-1, 1, z.shape[1], -1))  # (B, 1, T, T)

        return run

    def tail(z, valid):
        keep = valid[..., None].to(z.dtype)  # (B, T, 1)
        return finish((z * keep).sum(1) / keep.sum(1))  # (B, D)

    layers = tuple(model.encoder.layer)
    encoder = TextEncoder(
        name=name,
        device=device,
        dtype=dtype_of(model),
        whole=None,
        parts=Parts(stem, tuple(map(block, layers)), tail, layers),
        tokenize=tokenize,
        blank=tokenizer.pad_token_id,
        weights=dict(model.named_parameters()),
    )
    with torch.no_grad():
        return replace(encoder, dim=encoder(["a photo of a cat"]).shape[1])
