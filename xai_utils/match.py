"""The score that methods explain and metrics follow."""

import torch.nn.functional as F
from torch import Tensor


def match(encoder, h: Tensor, targets: Tensor, *, logit: bool = False) -> Tensor:
    """How well embeddings fit their targets, (r,).

    h        (r, D)
    targets  (r, D) embeddings: the cosine to them; (r,) class indices: the head's probability for
             them
    logit    for classes, the logit instead of the probability
    """
    targets = targets.to(h.device)
    if targets.ndim == 2:
        return F.cosine_similarity(h, targets.to(h))
    logits = encoder.head(h)
    return (logits if logit else logits.softmax(1)).gather(1, targets[:, None])[:, 0]
