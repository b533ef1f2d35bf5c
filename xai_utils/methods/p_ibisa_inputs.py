"""What P-IBISA's masks lie on: the pixels of an image, or the words of a text."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..types import ImageEncoder, TextEncoder
from .masks import upsample


def masked_images(encoder: ImageEncoder, x: Tensor) -> Callable:
    """A function from grids (r, h, w) and the image of each (r,) to masks (r, H, W) and embeddings
    (r, D)."""
    size = tuple(x.shape[-2:])

    def look(g, i):
        m = upsample(g, size)  # (r, H, W)
        return m, encoder(x[i] * m[:, None])  # (r, D)

    return look


def masked_text(encoder: TextEncoder, ids: Tensor) -> Callable:
    """The same for one text, ids (T + 2,) with its special tokens: from (r, 1, T) to masks (r,
    1, T) and (r, D).

        e_i <- m_i e_i + (1 - m_i) e_blank,  m = sigmoid(g),  i = 1..T

    e_i is the embedding of token i, before positions are added, e_blank that of padding. Special
    tokens are never masked.
    """
    valid = torch.ones_like(ids, dtype=torch.bool)

    def look(g, _):
        m = torch.sigmoid(g)  # (r, 1, T)
        weight = F.pad(m[:, 0], encoder.special, value=1.0)  # (r, T + 2)
        rows = len(m), -1
        return m, encoder.encode_ids(ids.expand(rows), valid.expand(rows), weight, encoder.blank)

    return look


def each_text(
    encoder,
    texts,
    targets,
    optimise: Callable,
    *,
    masks: int,
    alpha: float,
    k: int | None,
    seed: int,
):
    """P-IBISA's maps (B, T) of texts, NaN behind the end of shorter ones, and their trace (steps,
    B, N).

    optimise  (target (1, D), start (N, 1, T), k, look) -> grids (1, N, 1, T) and trace: the
              optimiser that images have
    Every text is cut to its own length and goes alone, so that its map does not depend on the
    rest of the batch. Its words are a row of cells. Which of them stand side by side says nothing
    about what belongs together, so there is no total variation. k is 3 T: beta then prices the
    share that is kept as it does for the three channels of an image.
    """
    encoder.split(0)  # says so where the encoder takes no weights
    ids, valid, words = encoder.tokenize(texts)
    maps, traces = [], []
    for row, real, target, own in zip(ids, valid, targets, words):
        start = sample_words(masks, len(own), alpha, seed)
        g, trace = optimise(
            target[None], start, k=k or 3 * len(own), look=masked_text(encoder, row[real])
        )
        maps.append(g.sigmoid().mean((0, 1, 2)))  # Eq. 2
        traces.append(trace)
    map = (
        torch.nn.utils.rnn.pad_sequence(maps, batch_first=True, padding_value=float("nan"))
        .float()
        .cpu()
    )
    return map, {name: torch.cat([t[name] for t in traces], 1) for name in traces[0]}


def sample_words(masks: int, words: int, alpha: float, seed: int) -> Tensor:
    """Eq. 3 for a text, (masks, 1, words): word by word, so that a word's starts do not depend on
    how many follow."""
    generator = torch.Generator().manual_seed(seed)
    return ((2 * torch.rand(words, masks, generator=generator) - 1) * alpha).T[:, None]
