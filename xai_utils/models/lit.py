"""The two linear maps by which conse-lite0 becomes lit-lite0, after LiT (Zhai et al. 2022): the
towers stay as they are, and what comes out of them learns captions.

image  f(h) = normalize( k conse(h) + W (h - mean) / std + b )   h (B, 1280): efficientnet-lite0's
text   g(t) = normalize( A (t - c) + a )                         t (B, 384): MiniLM's unit vectors

With W = b = a = 0, k = 1 and A the identity, where they begin, both are conse-lite0's.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LitImage(nn.Module):
    """f: embeddings (B, 1280) of efficientnet-lite0 -> unit vectors (B, 384).

    conse    (B, 1280) -> (B, 384), conse-lite0's way into the space
    dropout  of the standardised embedding, in training
    """

    def __init__(self, conse: Callable[[Tensor], Tensor], dropout: float = 0.0):
        super().__init__()
        self.conse, self.dropout = conse, nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(1280))
        self.register_buffer("std", torch.ones(1280))
        self.k, self.linear = nn.Parameter(torch.ones(())), nn.Linear(1280, 384)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor) -> Tensor:
        seen = self.linear(self.dropout((h - self.mean) / self.std))
        return F.normalize(self.k * self.conse(h) + seen, dim=-1)


class LitText(nn.Module):
    """g: MiniLM's pooled states (B, 384), of any length -> unit vectors (B, 384)."""

    def __init__(self, centre: Tensor):
        super().__init__()
        self.register_buffer("centre", centre, persistent=False)
        self.linear = nn.Linear(384, 384)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor) -> Tensor:
        return F.normalize(self.linear(F.normalize(h, dim=-1) - self.centre), dim=-1)
