"""Retrieval: how well an encoder finds captions or pictures of a kind, and zero-shot ROAR (AdaIB),
how much worse it gets without what a map marks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call, check_whole
from ..checks import (
    check_choice,
    check_counts,
    check_finite,
    check_function,
    check_number,
    check_percentile,
)
from ..corruption import blanked, without_pixels
from ..types import Encoder, TextEncoder
from .base import metric, shared

SAME_TEXT = 1 - 1e-6  # the least cosine of two embeddings of one text


@metric("roar", higher_is_better=True, level="set", needs=("whole",), sides=("image", "text"))
@torch.no_grad()
def zero_shot_roar(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    map: Tensor,
    *,
    direction: str = "i2t",
    percentile=None,
    distractors: Tensor | None = None,
    whole: Tensor | None = None,
) -> Tensor:
    """100 (hit before - hit after) / mean hit before, (B,); its mean is AdaIB's 100 (Acc_o - Acc_c)
    / Acc_o.

    The B pairs are each other's gallery: a hit is a query whose own partner comes first (R@1, ties
    count as misses), so the score depends on B and on which pairs stand together. Give all pairs of
    a table in one call.
    encoder     the tower whose inputs are corrupted: images give AdaIB's "co", texts "oc" (original
                image first)
    targets     (B, D) embeddings of the partners, untouched
    direction   "i2t": images are queries; "t2i": texts are
    percentile  what lies above it in its own map goes: pixels to the image's mean colour (None:
                75), tokens to the padding token (None: 90)
    distractors (K, D) embeddings of further partners in the gallery, of the kind that is searched:
                texts for "i2t", images for "t2i". Nobody asks for them. None: the B pairs alone
    whole       (B, D), the untouched inputs' embeddings where they are known already; None: one
                more pass
    Raises ValueError where not one query is right before the corruption. The slug in reference.csv
    is roar-<direction>-<co or oc>.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_choice("direction", direction, ("i2t", "t2i"))
    if distractors is not None:
        check_rows("distractors", distractors, targets)
    before, after = whole_and_without(encoder, inputs, targets, map, percentile, whole)
    mine = (direction == "t2i") == isinstance(encoder, TextEncoder)  # the corrupted side asks
    asked = [(h, targets.to(h)) if mine else (targets.to(h), h) for h in (before, after)]
    hit = [hits(queries, gallery, distractors) for queries, gallery in asked]
    if not hit[0].any():
        raise ValueError(
            "not one query finds its partner before the corruption: there is nothing to lose"
        )
    return 100 * (hit[0].float() - hit[1].float()) / hit[0].float().mean()


@metric("hit", higher_is_better=False, needs=("whole",), sides=("image", "text"))
@torch.no_grad()
def hit_without(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    map: Tensor,
    *,
    gallery: Callable[[], tuple[Tensor, Tensor]],
    direction: str = "i2t",
    percentile=None,
    whole: Tensor | None = None,
) -> Tensor:
    """1 where a query still finds its partner without what the map marks, else 0, (B,): zero-shot
    ROAR of single maps. A map of ones marks nothing, so that AdaIB's score is 100 (hits of ones -
    hits) / hits of ones, in means over a set.

    gallery  () -> embeddings of the pictures and of the texts of K other pairs, (K, D) each, among
             which the partner has to come first (ties count as misses). Pairs with the query's own
             text are left out: they would be partners too. They are whole, so that where the
             corrupted side is searched, the partner alone has lost something
    The other arguments are as in `zero_shot_roar`.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_choice("direction", direction, ("i2t", "t2i"))
    check_function("gallery", gallery)
    before, after = whole_and_without(encoder, inputs, targets, map, percentile, whole)
    is_text = isinstance(encoder, TextEncoder)
    text = before if is_text else targets
    images, texts = (F.normalize(h, dim=1).to(after) for h in gallery())
    same = F.normalize(text, dim=1).to(texts) @ texts.T > SAME_TEXT  # (B, K)
    pair = (F.normalize(h, dim=1) for h in (after, targets.to(after)))
    mine = (direction == "t2i") == is_text  # the corrupted side asks
    query, partner = pair if mine else reversed([*pair])
    others = query @ (texts if direction == "i2t" else images).T  # (B, K)
    best = others.masked_fill(same, -2).amax(1)
    return ((query * partner).sum(1) > best).float().cpu()


@shared
def whole_and_without(
    encoder: Encoder, inputs, targets: Tensor, map: Tensor, percentile, whole: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The embeddings of inputs and of what is left of them without what lies above the percentile
    of its own map, (B, D) each."""
    is_text = isinstance(encoder, TextEncoder)
    percentile = (90 if is_text else 75) if percentile is None else percentile
    check_percentile(percentile)
    if is_text:
        ids, valid = blanked(encoder, inputs, map, percentile)
        return check_whole(whole, encoder, inputs), encoder.encode_ids(ids, valid)
    pixels = without_pixels(inputs, map, percentile)
    return check_whole(whole, encoder, inputs), encoder(pixels)


@metric(
    "caption-rank",
    higher_is_better=False,
    level="set",
    needs=("embeddings", "captions", "right"),
)
def caption_ranks(embeddings: Tensor, captions: Tensor, right: list[list[int]]) -> Tensor:
    """The place of each picture's best right caption among all captions, (B,) integers from 1; ties
    count against it.

    embeddings  (B, D), of the pictures; in `score` and `evaluate` of what the map keeps of them
    captions    (K, D)
    right       for each picture, the indices of the captions that are true of it
    R@k is the share of ranks up to k.
    """
    check_rows("captions", captions)
    check_rows("embeddings", embeddings, captions)
    s = F.normalize(embeddings, dim=1) @ F.normalize(captions, dim=1).T.to(embeddings)  # (B, K)
    if len(right) != len(s) or not all(len(places) for places in right):
        raise ValueError(f"right must name at least one caption for each of {len(s)} pictures")
    own = torch.zeros(s.shape, dtype=torch.bool)
    for row, places in zip(own, right):
        for place in places:
            check_number("right", place, 0, s.shape[1] - 1, integer=True)
            row[place] = True
    own = own.to(s.device)
    best = s.masked_fill(~own, -2).amax(1, keepdim=True)
    return (1 + ((s >= best) & ~own).sum(1)).cpu()


def knn_hits(embeddings: Tensor, kinds: list, *, k: int = 5) -> Tensor:
    """1 where the k nearest other pictures, each voting with its cosine, are for the picture's own
    kind, else 0, (B,): what an embedding tells apart, without training anything.

    embeddings  (B, D), of pictures
    kinds       B names, such as captions; of kinds with equal votes the first in the alphabet wins
    """
    check_counts(k=k)
    check_rows("embeddings", embeddings)
    if len(kinds) != len(embeddings) or len(kinds) <= k:
        raise ValueError(
            f"kinds must name each of more than {k} pictures, got {len(kinds)} for"
            f" {len(embeddings)}"
        )
    h = F.normalize(embeddings, dim=1)
    names = sorted(set(kinds))
    own = torch.tensor([names.index(kind) for kind in kinds], device=h.device)
    near = (h @ h.T).fill_diagonal_(-1).topk(k)
    votes = torch.zeros(len(h), len(names)).to(h)
    votes.scatter_add_(1, own[near.indices], near.values)
    return (votes.argmax(1) == own).double().cpu()


def check_rows(name: str, h: Tensor, like: Tensor | None = None) -> None:
    """Embeddings (rows, D), finite and each with a direction, of the width of `like`, if given."""
    width = "D" if like is None else like.shape[1]
    good = isinstance(h, Tensor) and h.ndim == 2 and h.is_floating_point()
    if not good or width not in ("D", h.shape[1]):
        got = f"{h.dtype} {tuple(h.shape)}" if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"{name} must be embeddings of shape (K, {width}), got {got}")
    check_finite(name, h)
    if (h == 0).all(1).any():
        raise ValueError(f"{name} holds a row that is 0 everywhere and has no direction")


def hits(queries: Tensor, partners: Tensor, distractors: Tensor | None = None) -> Tensor:
    """Whether each query's own partner is strictly ahead of all others, (B,) bool on the CPU."""
    if distractors is not None:
        partners = torch.cat([partners, distractors.to(partners)])
    s = F.normalize(queries, dim=1) @ F.normalize(partners, dim=1).T  # (B, B + K)
    own = torch.eye(*s.shape, dtype=torch.bool, device=s.device)
    return (s.diagonal() > s.masked_fill(own, -2).amax(1)).cpu()
