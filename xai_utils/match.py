"""The score that methods explain and metrics follow."""

import torch.nn.functional as F
from torch import Tensor


def match(encoder, h: Tensor, targets: Tensor, *, logit: bool = False) -> Tensor:
    """How well embeddings fit their targets, (r,).

    h        (r, D)
    targets  (r, D) embeddings: the cosine to them; (r,) class indices: the head's probability for
             them
    logit    for classes, the logit instead of the probability
    Raises ValueError for embeddings of another width, which nobody knows of a wrapped function
    before its first pass: one number for each row would broadcast.
    """
    targets = targets.to(h.device)
    if targets.ndim == 2:
        check_width(encoder, h, targets)
        return F.cosine_similarity(h, targets.to(h))
    logits = encoder.head(h)
    return (logits if logit else probabilities(logits)).gather(1, targets[:, None])[:, 0]


def probabilities(logits: Tensor) -> Tensor:
    """(r, classes): softmax; of a single logit, which a softmax would call certain whatever it is,
    the sigmoid."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def log_probabilities(logits: Tensor) -> Tensor:
    """The logarithm of `probabilities`."""
    return F.logsigmoid(logits) if logits.shape[1] == 1 else logits.log_softmax(1)


def leading(logits: Tensor) -> Tensor:
    """The class that leads, (r,); of a single logit 0 where it is above 0, else -1: none."""
    return (logits[:, 0] > 0).long() - 1 if logits.shape[1] == 1 else logits.argmax(1)


def check_width(encoder, h: Tensor, targets: Tensor) -> None:
    if h.shape[1] != targets.shape[1]:
        raise ValueError(
            f"targets have {targets.shape[1]} dimensions, {encoder.name} embeds into {h.shape[1]}"
        )
