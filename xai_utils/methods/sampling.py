"""Baselines that only look: the input is masked many times and the scores shared out: RISE,
SBSM."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import progress, row_groups
from ..checks import check_counts, check_number, check_seed
from ..match import match
from ..types import Attribution, Encoder, ImageEncoder, TextEncoder
from .base import method
from .gradients import unit


@method
@torch.no_grad()
def rise(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    masks: int | None = None,
    cells: int = 8,
    p: float = 0.1,
    seed=0,
    chunk=64,
) -> Attribution:
    """The mean of random masks, each times the score it leaves (RISE, Petsiuk et al. 2018, Eq. 6).

        A = 1/(N p) sum_n S(x m_n) m_n
        m_n: `cells` x `cells` bits, 1 with probability p, bilinear, shifted at random

    encoder  an image encoder, split or not, or a text encoder with splits
    inputs   (B, 3, H, W), normalised: where m = 0 the image is the mean colour; or B texts, whose
             word embeddings are multiplied by one bit each, special tokens kept
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their probability, as in
             the paper
    masks    N, the same for every sample; None: 6000 for images and 200 for texts, as in the NIB
             repository
    cells, p  8 and 0.1 as in the released code of RISE and of NIB; the paper has 7 and 0.5
    chunk    how many rows are in memory at once; changes only the order of summation. Masks are
             made when they are needed
    Returns the map (B, H, W), or for texts (B, T), in units of S: the mean score where a place is
    kept. Signed for cosines. cost: N forwards. In the NIB repository a text's masks are 8 soft
    cells over the tokens, special ones among them.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    if masks is None:
        masks = 200 if isinstance(encoder, TextEncoder) else 6000
    check_counts(masks=masks, cells=cells, chunk=chunk)
    check_number("p", p, 0, 1, above=True)
    check_seed(seed)
    maps = []
    for score, shape in progress(probes(encoder, inputs, targets), "RISE"):
        draw, total = (
            rise_masks(shape, masks, cells, p, seed, encoder.device),
            torch.zeros(shape, device=encoder.device),
        )
        for k in row_groups(encoder, 1, masks, chunk):
            m = draw(k)
            total += torch.tensordot(score(m), m, 1)
        maps.append(total / (masks * p))
    return collected(encoder, inputs, maps, unit(targets), forwards=masks, signed=targets.ndim == 2)


@method
@torch.no_grad()
def sbsm(
    encoder: ImageEncoder,
    inputs: Tensor,
    targets: Tensor,
    *,
    window: int | None = None,
    stride: int | None = None,
    chunk=64,
) -> Attribution:
    """How much a hidden square costs: the mean drop over the squares that cover a pixel (SBSM, Dong
    et al. 2019).

        A = mean over the windows w that cover the pixel of S(x) - S(x (1 - w))

    encoder, inputs  an image encoder and its images, (B, 3, H, W), normalised: a hidden pixel has
                     the mean colour
    targets  (B, D) embeddings: S is the cosine to them; (B,) classes: S is their probability
    window   side of the square in pixels; None: 50 of 224, as in the authors' toolkit, in
             proportion for other sizes
    stride   pixels from one square to the next; None: 20 of 224 likewise. At the far edge the last
             square is cut off
    chunk    how many rows are in memory at once; changes only the order of summation
    Returns the map (B, H, W) in units of S, signed: below 0 hiding the pixel helps. There is no
    randomness. cost: one forward for each window and one. The paper's distance is Euclidean; as a
    score we follow the cosine as everywhere else.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    height, width = inputs.shape[-2:]
    window = max(1, round(min(height, width) * 50 / 224)) if window is None else window
    stride = max(1, round(min(height, width) * 20 / 224)) if stride is None else stride
    check_counts(window=window, stride=stride, chunk=chunk)
    if stride > window or window > min(height, width):
        raise ValueError(
            f"stride <= window <= image side is needed, got {stride}, {window} and"
            f" {min(height, width)}"
        )
    tops, lefts = (
        torch.arange(0, n - window + stride, stride, device=encoder.device) for n in (height, width)
    )
    n, maps = len(tops) * len(lefts), []
    for score, shape in progress(probes(encoder, inputs, targets), "SBSM"):
        drop, count = torch.zeros(2, *shape, device=encoder.device)
        whole = score(torch.ones(1, *shape, device=encoder.device))
        for k in row_groups(encoder, 1, n, chunk):
            w = squares(tops[k // len(lefts)], lefts[k % len(lefts)], window, shape)
            drop += torch.tensordot(whole - score(1 - w), w, 1)
            count += w.sum(0)
        maps.append(drop / count)
    return collected(encoder, inputs, maps, unit(targets), forwards=n + 1)


def probes(encoder: Encoder, inputs, targets: Tensor) -> list[tuple[Callable, tuple[int, ...]]]:
    """For every sample: a function from masks (r, ...) to the scores (r,) of the input under them,
    and one mask's shape.

    An image is multiplied by masks (r, H, W), a text's word embeddings by (r, T); a text is cut to
    its own length first.
    """
    if not isinstance(encoder, TextEncoder):
        return [
            (partial(masked_image, encoder, x, t), x.shape[-2:]) for x, t in zip(inputs, targets)
        ]
    encoder.split(0)  # says so where the encoder takes no weights
    ids, valid, tokens = encoder.tokenize(inputs)
    rows = zip(ids, valid, targets, tokens)
    return [(partial(masked_text, encoder, i[v], t), (len(words),)) for i, v, t, words in rows]


def masked_image(encoder, x, target, m):
    return match(encoder, encoder(x * m[:, None]), target.expand(len(m), *target.shape))


def masked_text(encoder, ids, target, m):
    weight = F.pad(m, encoder.special, value=1.0)  # special tokens stay
    h = encoder.encode_ids(
        ids.expand(len(m), -1), torch.ones_like(weight, dtype=torch.bool), weight
    )
    return match(encoder, h, target.expand(len(m), *target.shape))


def rise_masks(
    shape, masks: int, cells: int, p: float, seed: int, device
) -> Callable[[Tensor], Tensor]:
    """A function from mask numbers (r,) to masks (r, H, W) or (r, T); only the bits and shifts of
    all masks are kept.

    Enlarged by ceil(side / cells) pixels a cell, one cell more than needed, and cut at a random
    place (Sec. 3.3).
    """
    generator = torch.Generator().manual_seed(seed)
    if len(shape) == 1:  # token by token, so that a word's bits do not depend on how many follow
        bits = (torch.rand(shape[0], masks, generator=generator) < p).T.float().to(device)
        return lambda k: bits[k]
    u = torch.rand(masks, cells * cells + 2, generator=generator).to(device)
    bits, sides = u[:, 2:].unflatten(1, (cells, cells)) < p, []
    for n, v in zip(shape, u.T):
        step = -(-n // cells)
        weights = F.interpolate(torch.eye(cells)[None], size=(cells + 1) * step, mode="linear")[
            0
        ].T.to(device)
        sides.append(
            (weights, (v * step).long()[:, None] + torch.arange(n, device=device))
        )  # (pixels, cells), (N, n)

    def draw(k):
        rows, columns = (
            weights[place[k]] for weights, place in sides
        )  # (r, H, cells), (r, W, cells)
        return rows @ bits[k].float() @ columns.transpose(1, 2)

    return draw


def squares(tops: Tensor, lefts: Tensor, side: int, shape) -> Tensor:
    """1 inside each square, else 0, (r, H, W)."""
    rows, columns = (
        torch.arange(n, device=tops.device) - edge[:, None] for n, edge in zip(shape, (tops, lefts))
    )
    rows, columns = (((0 <= d) & (d < side)).float() for d in (rows, columns))
    return rows[:, :, None] * columns[:, None, :]


def collected(
    encoder, inputs, maps: list[Tensor], unit: str, *, forwards: int, signed=True
) -> Attribution:
    """One map per sample -> what a method returns."""
    cost = dict(forwards=forwards, backwards=0)
    if not isinstance(encoder, TextEncoder):
        return Attribution(map=torch.stack(maps).float().cpu(), unit=unit, signed=signed, cost=cost)
    map = (
        torch.nn.utils.rnn.pad_sequence(maps, batch_first=True, padding_value=float("nan"))
        .float()
        .cpu()
    )
    return Attribution(
        map=map, unit=unit, signed=signed, cost=cost, tokens=encoder.tokenize(inputs)[2]
    )
