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
        if h.shape[1] != targets.shape[1]:
            raise ValueError(
                f"targets have {targets.shape[1]} dimensions, {encoder.name} embeds into"
                f" {h.shape[1]}"
            )
        return F.cosine_similarity(h, targets.to(h))
    logits = encoder.head(h)
    return (logits if logit else logits.softmax(1)).gather(1, targets[:, None])[:, 0]
