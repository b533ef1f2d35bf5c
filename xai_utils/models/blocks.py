"""A transformer block in pieces: one description for the blocks of all libraries, which attention
methods and relevance propagation follow. models/dissection.py fills it in."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def same(x):
    return x


@dataclass(frozen=True)
class AttentionBlock:
    """One transformer block.

        norm first  x = z + scale1(out(inner(mix(norm1(z))))),    output = x + scale2(mlp(norm2(x)))
        norm last   x = norm1(z + out(mix(z))),                   output = norm2(x + mlp(x))
        mix(n) = softmax(q k' / sqrt(d) + bias) v

    qkv     the linear layers, fused or three, whose outputs side by side are q, k, v of all heads
    turn    (q, k), each (B, heads, T, d) -> the same, normalised and rotated as the block has it
    bias    what is added to the scores, broadcast to (B, heads, T, T), or a function that gives it
            for something of shape (B, T, any); None without one
    inner   what happens to the mixed heads, (B, T, heads d), before `out`
    layers  the MLP as (linear, ..., linear), what lies between works on each number or is a norm;
            () where it is another kind
    dtype   of the weights; the block casts to it; its attention and what leaves it is at least
            float32, as an encoder's latents are
    """

    norm1: Callable
    qkv: tuple[Callable, ...]
    heads: int
    out: Callable
    norm2: Callable
    mlp: Callable
    layers: tuple[Callable, ...] = ()
    scale1: Callable = same
    scale2: Callable = same
    turn: Callable | None = None
    bias: Tensor | Callable | None = None
    inner: Callable = same
    norm_first: bool = True
    dtype: torch.dtype = torch.float32

    def split_heads(self, n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What attention sees, (B, T, width), -> q, k, v, each (B, heads, T, d)."""
        qkv = torch.cat([linear(n) for linear in self.qkv], -1)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return (q, k, v) if self.turn is None else (*self.turn(q, k), v)

    def scores(self, q: Tensor, k: Tensor, allowed: Tensor | None) -> Tensor:
        """q k' / sqrt(d) and the bias, (B, heads, T, T), at least float32, the lowest number where
        a token may not look."""
        exact = torch.promote_types(q.dtype, torch.float32)
        s = q.to(exact) @ k.to(exact).mT * q.shape[-1] ** -0.5
        if self.bias is not None:
            s = s + (self.bias if isinstance(self.bias, Tensor) else self.bias(q[:, 0])).to(s)
        return s if allowed is None else s.masked_fill(~allowed, torch.finfo(s.dtype).min)

    def mix(self, attention: Tensor, v: Tensor) -> Tensor:
        """(B, heads, T, T) and v -> the heads' mixtures side by side, (B, T, heads d)."""
        mixed = attention @ v.to(attention.dtype)
        return self.inner(mixed.transpose(1, 2).flatten(2).to(v.dtype))

    def __call__(self, z: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The block's output, its attention A = softmax(scores) and the scores, all in one
        graph."""
        z = z.to(self.dtype)
        q, k, v = self.split_heads(self.norm1(z) if self.norm_first else z)
        scores = self.scores(q, k, allowed)
        attention = scores.softmax(-1)
        x = z + self.scale1(self.out(self.mix(attention, v)))
        if self.norm_first:
            x = x + self.scale2(self.mlp(self.norm2(x)))
        else:
            x = self.norm1(x)
            x = self.norm2(x + self.mlp(x))
        return x.to(scores.dtype), attention, scores


@dataclass(frozen=True)
class Affine:
    """A linear layer whose weight (out, in) and bias are kept apart from a module."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Scale:
    """What multiplies a branch: a number or a tensor (width)."""

    factor: Tensor | float

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.factor


@dataclass(frozen=True)
class Turn:
    """q and k normalised, then those of the last `places` tokens rotated by their place."""

    q_norm: Callable
    k_norm: Callable
    rope: Callable = same
    places: int = 0

    def __call__(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.rotated(self.q_norm(q)), self.rotated(self.k_norm(k))

    def rotated(self, x: Tensor) -> Tensor:
        front, rest = x.tensor_split([x.shape[2] - self.places], 2)
        return torch.cat([front, self.rope(rest).to(x.dtype)], 2) if self.places else x
