"""Confidence drop and increase: does the part that the map keeps still match the target?

The papers print one name over several protocols. For images and for texts:

protocol         image times                      text
"m2ib"           the map scaled to [0, 1]         tokens above the median stay
"m2ib-released"  the first row of that, repeated  the same, encoded without its special tokens
"nib"            the map scaled to [0, 1]         each token's embedding times its scaled score
"nib-released"   the map scaled to [0, 1]         the same, encoded without its special tokens
"raw"            the map as it is, in [0, 1]      -

Under "m2ib" the other tokens become the padding token, under "m2ib-released" token 0; under
"nib-released" a word that stands twice takes the scores of both places.

Scaled: by the map's own minimum and maximum. The papers' text is silent on all but M2IB's; the
-released ones do what the authors' code does, where CLIP without special tokens is read off at the
largest token id. There NIB scales over the special tokens too, which a map here does not score.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call, check_whole
from ..checks import check_choice, check_map, check_percentile, check_text_map
from ..corruption import blanked, without_pixels
from ..stats import min_max
from ..types import Encoder, ImageEncoder, TextEncoder
from .base import metric, shared

PROTOCOLS = ("m2ib", "m2ib-released", "nib", "nib-released", "raw")


@metric("conf-drop", higher_is_better=False, needs=("whole",), sides=("image", "text"))
def confidence_drop(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    map: Tensor,
    *,
    protocol: str = "m2ib",
    similarity: str = "cosine",
    whole: Tensor | None = None,
) -> Tensor:
    """100 max(0, o - s), (B,) (M2IB Eq. 17; P-IBISA, NIB and AdaIB take it over). Lower is better.

    o = sim(f(x), h), s = sim(f(what the map keeps of x), h). A map of ones has drop 0, a map of
    zeros nearly 100 o.
    inputs      (B, 3, H, W), the normalised image, so that 0 is the mean colour; or a list of B
                texts
    targets     (B, D) embeddings
    map         (B, H, W), or for texts (B, T), NaN behind the end of each
    protocol    see the top of this file
    similarity  "cosine", drop in 0..200; "inverse-distance": 1 / ||f(x) - h||, as P-IBISA's
                retrieval has it
    whole       (B, D), f(x) where it is known already; None: one more pass
    The mean over samples is what the papers print.
    """
    s, o = similarities(encoder, inputs, targets, map, protocol, similarity, whole)
    return 100 * (o - s).clamp(min=0)


@metric("conf-incr", higher_is_better=True, needs=("whole",), sides=("image", "text"))
def confidence_increase(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    map: Tensor,
    *,
    protocol: str = "m2ib",
    similarity: str = "cosine",
    whole: Tensor | None = None,
) -> Tensor:
    """100 where s > o, else 0, (B,) (M2IB Eq. 18); arguments as `confidence_drop`. Higher is
    better; ties count 0."""
    s, o = similarities(encoder, inputs, targets, map, protocol, similarity, whole)
    return 100.0 * (s > o)


@metric("deletion-drop", higher_is_better=True, needs=("whole",), sides=("image", "text"))
@torch.no_grad()
def deletion_drop(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    map: Tensor,
    *,
    percentile=None,
    whole: Tensor | None = None,
) -> Tensor:
    """100 (o - s), (B,): how much lower the cosine is without what the map marks. Higher is better.

    What lies above the percentile of its own map goes as ROAR+ has it: pixels to the image's mean
    colour (None: 75), tokens to the padding token (None: 50). A random map takes away as much.
    whole as in `confidence_drop`.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    is_text = isinstance(encoder, TextEncoder)
    percentile = (50 if is_text else 75) if percentile is None else percentile
    check_percentile(percentile)
    if is_text:
        ids, valid = blanked(encoder, inputs, map, percentile)
        whole, left = check_whole(whole, encoder, inputs), encoder.encode_ids(ids, valid)
    else:
        pixels = without_pixels(inputs, map, percentile)
        whole, left = check_whole(whole, encoder, inputs), encoder(pixels)
    s, o = (F.cosine_similarity(h, targets.to(h)).float().cpu() for h in (left, whole))
    return 100 * (o - s)


@shared
@torch.no_grad()
def similarities(
    encoder, inputs, targets, map, protocol="m2ib", similarity="cosine", whole=None
) -> tuple[Tensor, Tensor]:
    """(s, o) of each sample, both (B,): similarity to the target with and without the map."""
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_choice("protocol", protocol, PROTOCOLS)
    check_choice("similarity", similarity, SIMILARITIES)
    whole = whole if whole is None else check_whole(whole, encoder, inputs)
    if isinstance(encoder, TextEncoder):
        kept, whole = kept_text(encoder, inputs, map, protocol, whole)
    else:
        kept = kept_image(encoder, inputs, map, protocol)
        whole = encoder(inputs) if whole is None else whole
    s, o = (SIMILARITIES[similarity](h, targets.to(h)).float().cpu() for h in (kept, whole))
    if not torch.isfinite(o).all():
        raise ValueError(
            "targets are the inputs' own embeddings: their inverse distance is infinite"
        )
    return s, o


SIMILARITIES = {
    "cosine": F.cosine_similarity,
    "inverse-distance": lambda h, t: 1 / (h - t).norm(dim=1),
}


def kept_image(encoder: ImageEncoder, inputs: Tensor, map: Tensor, protocol: str) -> Tensor:
    """Embeddings of what the map keeps."""
    map = check_map(map, inputs)
    if protocol != "raw":
        map = min_max(map)
    elif map.min() < 0 or map.max() > 1:
        raise ValueError(
            f'protocol "raw" needs a map in [0, 1], got {map.min():.3g} to {map.max():.3g}'
        )
    if protocol == "m2ib-released":
        map = map[:, :1].expand_as(map)
    return encoder(inputs * map[:, None].to(inputs))


def kept_text(
    encoder: TextEncoder, texts: list[str], map: Tensor, protocol: str, whole: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Embeddings of what the map keeps, and of the whole texts, which the released protocols encode
    without special tokens."""
    if protocol == "raw":
        raise ValueError('protocol "raw" is for images')
    ids, valid, tokens = encoder.tokenize(texts)
    lengths = [len(t) for t in tokens]
    scores = check_text_map(map, lengths)
    words, released = encoder.words(valid), protocol.endswith("-released")
    if released:  # no special tokens, positions begin with the first word
        start = encoder.special[0]
        ids = ids[:, start : start + max(lengths)]
        words = valid = words[:, start : start + max(lengths)]
    changed, weight = ids.clone(), torch.ones(ids.shape, device=ids.device)
    for row, (own, s) in enumerate(zip(words, scores)):
        if protocol.startswith("m2ib"):
            dropped = (s <= s.quantile(0.5)).to(ids.device)
            blank = 0 if released else encoder.blank
            changed[row, own] = changed[row, own].masked_fill(dropped, blank)
        else:
            s = min_max(s[None])[0].to(ids.device)
            weight[row, own] = all_occurrences(ids[row, own], s) if released else s
    if released and encoder.causal:
        kept = encoder.encode_ids(changed, up_to_largest(changed, valid), weight)
        return kept, encoder.encode_ids(ids, up_to_largest(ids, valid))
    if whole is None or released:
        whole = encoder.encode_ids(ids, valid)
    return encoder.encode_ids(changed, valid, weight), whole


def all_occurrences(ids: Tensor, scores: Tensor) -> Tensor:
    """Each token's score times those of its other occurrences: the released code scales rows of the
    vocabulary."""
    return torch.stack([scores[ids == i].prod() for i in ids])


def up_to_largest(ids: Tensor, valid: Tensor) -> Tensor:
    """Real tokens up to the one with the largest id, where the released CLIP reads a text without
    its end token."""
    last = ids.masked_fill(~valid, -1).argmax(1, keepdim=True)
    return torch.arange(ids.shape[1], device=ids.device) <= last
