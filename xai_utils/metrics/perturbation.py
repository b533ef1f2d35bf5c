"""Take the picture away in the order of the map, or put it back, and follow the match with the
target.

MoRF and LeRF (Samek et al. 2017, in blocks as P-IBISA has them), deletion and insertion (RISE; AHA
averages three reference images), positive and negative perturbation (Chefer et al. 2021). All are
areas under one curve, `perturbation_curve`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call, check_metric
from ..batching import row_groups
from ..checks import check_choice, check_counts, check_flag, check_number
from ..corruption import REFERENCES, reference_image
from ..match import leading, log_probabilities, match
from ..types import ImageEncoder
from .base import metric
from .localization import check_masks


@torch.no_grad()
def perturbation_curve(
    encoder: ImageEncoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    first: str = "most",
    insert: bool = False,
    block: int = 8,
    steps: int | None = None,
    until: float = 1.0,
    reference: str = "zero",
    hits: bool = False,
    chunk: int = 64,
) -> Tensor:
    """The match after each step of removal or insertion, (B, S + 1); the first value is before any
    step.

    targets    (B,) class indices: the softmax probability is followed; (B, D) embeddings: the
               cosine
    first      "most" or "least" relevant blocks first, a block's relevance being the mean of the
               map over it
    insert     False: blocks give way to the reference image; True: blocks of the image enter the
               reference image
    block      side of the square blocks in pixels; 1: pixels
    steps      S, equal portions of blocks; None: one block a step
    until      the part of the blocks that has changed at the end
    reference  "zero": 0 after normalisation; "black"; "mean": the image's own mean colour; "blur":
               Gaussian, sigma a tenth of the shorter side
    hits       1 where the target class leads, else 0, instead of the probability
    Blocks of equal relevance go in one random order, the same for every image. S + 1 forward passes
    per image.
    """
    inputs, targets, map = check_metric(encoder, inputs, targets, map)
    check_counts(block=block, chunk=chunk)
    check_choice("first", first, ("most", "least"))
    check_choice("reference", reference, REFERENCES)
    check_flag("insert", insert)
    check_flag("hits", hits)
    check_number("until", until, 0, 1, above=True)
    if hits and targets.ndim != 1:
        raise ValueError("hits needs class indices as targets")
    rank = block_ranks(map if first == "most" else -map, block)  # (B, H, W)
    blocks = int(rank.max()) + 1
    if steps is not None:
        check_number("steps", steps, 1, blocks, integer=True)
    counts = (
        torch.linspace(0, until * blocks, (steps or round(until * blocks)) + 1)
        .round()
        .to(encoder.device)
    )  # (S + 1,)
    x, rank = inputs, rank.to(encoder.device)
    other = reference_image(encoder, x, reference)
    start, end = (other, x) if insert else (x, other)
    values = []
    for rows in row_groups(encoder, len(x), len(counts), chunk):
        i = rows // len(counts)
        changed = rank[i] < counts[rows % len(counts), None, None]  # (r, H, W)
        h = encoder(torch.where(changed[:, None], end[i], start[i]))
        values.append(
            (leading(encoder.head(h)) == targets[i]).float()
            if hits
            else match(encoder, h, targets[i])
        )
    return torch.cat(values).unflatten(0, (len(x), len(counts))).float().cpu()


def block_ranks(map: Tensor, block: int) -> Tensor:
    """When each pixel's block has its turn, 0 for the highest mean of the map: (B, H, W) -> (B, H,
    W) integers."""
    size = map.shape[-2:]
    means = F.avg_pool2d(map[:, None], block, ceil_mode=True, count_include_pad=False)[
        :, 0
    ]  # (B, h, w)
    h, w = means.shape[-2:]
    shuffled = torch.randperm(h * w, generator=torch.Generator().manual_seed(0))  # for ties
    order = shuffled[
        means.flatten(1)[:, shuffled].sort(dim=1, descending=True, stable=True).indices
    ]  # (B, h w)
    ranks = (
        torch.empty_like(order)
        .scatter_(1, order, torch.arange(h * w).expand_as(order))
        .unflatten(1, (h, w))
    )
    return ranks.repeat_interleave(block, 1)[:, : size[0]].repeat_interleave(block, 2)[
        :, :, : size[1]
    ]


def removed(map: Tensor, *, first: str = "most", block: int = 8, steps: int = 10) -> Tensor:
    """Which pixels are gone after each of `steps` equal portions of blocks, (B, steps + 1, H, W)
    bool: none at first, all at the end.

    first, block  as in `perturbation_curve`
    """
    check_counts(steps=steps)
    check_counts(block=block)
    check_choice("first", first, ("most", "least"))
    if not isinstance(map, Tensor) or map.ndim != 3 or not map.isfinite().all():
        raise ValueError("map must be a finite tensor (B, H, W)")
    rank = block_ranks(map if first == "most" else -map, block)  # (B, H, W)
    counts = torch.linspace(0, int(rank.max()) + 1, steps + 1).round()
    return rank[:, None] < counts[:, None, None]


@metric("morf", higher_is_better=False)
def morf(
    encoder, inputs, targets, map, *, block: int = 8, steps: int | None = None, chunk: int = 64
) -> Tensor:
    """Most relevant first: mean of the curve while 8 x 8 blocks are set to zero, (B,) (P-IBISA
    Secs. 4 and 5). Lower is better.

    targets: class indices, for P-IBISA those the model predicts. See `perturbation_curve` for the
    rest.
    """
    return perturbation_curve(
        encoder, inputs, targets, map, first="most", block=block, steps=steps, chunk=chunk
    ).mean(1)


@metric("lerf", higher_is_better=True)
def lerf(
    encoder, inputs, targets, map, *, block: int = 8, steps: int | None = None, chunk: int = 64
) -> Tensor:
    """Least relevant first, otherwise as `morf`. Higher is better."""
    return perturbation_curve(
        encoder, inputs, targets, map, first="least", block=block, steps=steps, chunk=chunk
    ).mean(1)


def area_under(curve: Tensor) -> Tensor:
    """Trapezoidal area under (B, S + 1) values over [0, 1], (B,)."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1))


@metric("deletion-auc", higher_is_better=False)
def deletion_auc(
    encoder,
    inputs,
    targets,
    map,
    *,
    reference="all",
    block: int = 1,
    steps: int = 56,
    chunk: int = 64,
) -> Tensor:
    """Area under the curve while pixels give way to the reference, most relevant first, (B,) (RISE;
    AHA). Lower is better.

    reference  "black", "mean", "blur", "zero", or "all": the mean over the first three, as AHA
               reports it
    """
    return over_references(
        encoder,
        inputs,
        targets,
        map,
        reference,
        insert=False,
        block=block,
        steps=steps,
        chunk=chunk,
    )


@metric("insertion-auc", higher_is_better=True)
def insertion_auc(
    encoder,
    inputs,
    targets,
    map,
    *,
    reference="all",
    block: int = 1,
    steps: int = 56,
    chunk: int = 64,
) -> Tensor:
    """Area under the curve while pixels enter the reference, most relevant first; else as
    `deletion_auc`. Higher is better."""
    return over_references(
        encoder, inputs, targets, map, reference, insert=True, block=block, steps=steps, chunk=chunk
    )


def over_references(encoder, inputs, targets, map, reference, **options) -> Tensor:
    check_choice("reference", reference, ("all", *REFERENCES))
    names = REFERENCES[1:] if reference == "all" else (reference,)
    areas = [
        area_under(perturbation_curve(encoder, inputs, targets, map, reference=name, **options))
        for name in names
    ]
    return torch.stack(areas).mean(0)


@metric("positive-perturbation-auc", higher_is_better=False)
def positive_perturbation_auc(encoder, inputs, targets, map, *, chunk: int = 64) -> Tensor:
    """Area under the share of hits while 0 to 90 % of the pixels are set to zero, most relevant
    first, (B,).

    Chefer et al. (CVPR 2021). targets (B,) class indices. Lower is better.
    """
    return hit_area(encoder, inputs, targets, map, "most", chunk)


@metric("negative-perturbation-auc", higher_is_better=True)
def negative_perturbation_auc(encoder, inputs, targets, map, *, chunk: int = 64) -> Tensor:
    """Least relevant first, otherwise as `positive_perturbation_auc`. Higher is better."""
    return hit_area(encoder, inputs, targets, map, "least", chunk)


def hit_area(encoder, inputs, targets, map, first, chunk) -> Tensor:
    hits = getattr(targets, "ndim", 2) == 1
    return area_under(
        perturbation_curve(
            encoder,
            inputs,
            targets,
            map,
            first=first,
            block=1,
            steps=9,
            until=0.9,
            hits=hits,
            chunk=chunk,
        )
    )


@torch.no_grad()
def occlusion_drop(
    encoder: ImageEncoder, inputs: Tensor, targets: Tensor, regions: Tensor, *, chunk: int = 64
) -> Tensor:
    """What the class loses without each region, log p(x) - log p(x without it), (B, K), in nats.

    targets  (B,) class indices
    regions  (B, K, H, W) bool, none of them empty; a region is occluded by 0, the mean colour of
             normalised images (Zeiler and Fergus 2014, who slide one grey square)
    The largest of a row is the region that the class rests on; below 0: the class gains.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    check_counts(chunk=chunk)
    if targets.ndim != 1:
        raise ValueError(f"targets must be class indices (B,), got {tuple(targets.shape)}")
    if not isinstance(regions, Tensor) or regions.ndim != 4:
        raise ValueError("regions must be a bool tensor of shape (B, K, H, W)")
    for region in regions.unbind(1):
        check_masks(region, inputs)
    whole = torch.ones_like(regions[:, :1])
    kept = torch.cat([whole, ~regions], 1).to(encoder.device)  # (B, 1 + K, H, W)
    x = inputs
    b, n, values = *kept.shape[:2], []
    for rows in row_groups(encoder, b, n, chunk):
        i = rows // n
        h = encoder(x[i] * kept.flatten(0, 1)[rows, None])
        values.append(log_probabilities(encoder.head(h)).gather(1, targets[i, None])[:, 0])
    p = torch.cat(values).unflatten(0, (b, n)).float().cpu()
    return p[:, :1] - p[:, 1:]
