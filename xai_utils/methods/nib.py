"""NIB (Zhu et al. 2025): the noise-free limit of the bottleneck, which is a path integral from the
empty to the full hidden state."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_counts, check_number
from ..match import match
from ..numerics import in_float32
from ..types import Attribution, Encoder, Latent, Split
from .base import method


@method
@torch.enable_grad()
def nib(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    layer: int | None = None,
    steps: int = 10,
    chunk: int = 64,
) -> Attribution:
    """Scores that share out how much the match changes while one layer's features grow from 0 (NIB,
    Sec. 4.2, Eq. 10).

        S(t) = cos(suffix(t z), target)
        A = (1/n) sum_k z dS/dz at t = k/n,  k = 1..n,  summed over channels

    encoder  an image or a text encoder with splits
    inputs   (B, 3, H, W) or B texts
    targets  (B, D), the other modality's embeddings
    layer    whose input z is; None: block 9 of 12 (one block before M2IB's), in proportion
             elsewhere
    steps    n, nodes of the right Riemann sum
    chunk    how many rows are in memory at once; does not change the result beyond rounding
    Returns the map (B, H, W), or for texts (B, T), in cosine, signed; trace: similarity (n + 1, B),
    S at 0, 1/n, ..., 1, and gap (1, B): the sum of all scores, special tokens included, minus S(1)
    - S(0). It tends to 0 as n grows, but slowly where layer norms follow: they undo the scale t, so
    that S jumps near 0. There is no randomness. cost: passes of the suffix and one of the prefix.
    Unlike the released code, a text is scored against its own image only, whatever else is in the
    batch. What each node contributes is kept by `nib_path`.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_counts(steps=steps, chunk=chunk)
    split = encoder.split(encoder.default_layer if layer is None else layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    t = torch.arange(steps + 1, device=z.device) / steps
    scores, similarity = torch.zeros_like(z), torch.zeros(len(z), steps + 1, device=z.device)
    for i, k, s, slope in along(encoder, split, z, targets, t, chunk):
        similarity[i, k] = s
        there = (k > 0).view(-1, *[1] * (z.ndim - 1))  # k = 0 is there for S(0) alone
        scores.index_add_(0, i, torch.where(there, slope / steps, 0))
    places = scores.sum(split.channel_dim)  # (B, T) or (B, h, w)
    change = similarity[:, -1] - similarity[:, 0]
    gap = real_places(places, z).flatten(1).sum(1) - change
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    return Attribution(
        map=split.to_map(places, like=z).float().cpu(),
        unit="cosine",
        signed=True,
        tokens=tokens,
        trace=dict(similarity=similarity.T.cpu(), gap=gap[None].cpu()),
        cost=dict(forwards=steps + 2, backwards=steps + 1),
    )


@dataclass(frozen=True)
class Path:
    """NIB's path t z node by node, made by `nib_path`: every sum whose nodes are among those walked
    can be picked from it.

    nodes       the t that were walked, rising from 0 to 1
    similarity  S(t), (nodes, B)
    slopes      z dS/dz at t z, summed over channels, (nodes, B, T) or (nodes, B, h, w); 0 behind
                the end of a text
    to_map      scores of places, (B, T) or (B, h, w), -> the map (B, H, W), or for texts (B, T')
    """

    nodes: tuple[Fraction, ...]
    similarity: Tensor
    slopes: Tensor
    to_map: Callable

    @property
    def change(self) -> Tensor:
        """S(1) - S(0), (B,): what the scores should add up to."""
        return self.similarity[-1] - self.similarity[0]

    def scores(self, n: int, *, midpoints: bool = False) -> Tensor:
        """The scores of all places with n nodes, special tokens included: the mean slope at
        t = k/n, k = 1..n (Eq. 10), or at the middle of each interval, t = (2k - 1)/2n.

        Raises ValueError where such a node was not walked.
        """
        check_counts(n=n)
        wanted = [Fraction(2 * k - int(midpoints), 2 * n) for k in range(1, n + 1)]
        if missing := set(wanted) - set(self.nodes):
            raise ValueError(f"n={n} needs {len(missing)} nodes that the path lacks: count them in")
        return self.slopes[[self.nodes.index(t) for t in wanted]].mean(0)

    def map(self, n: int, *, midpoints: bool = False) -> Tensor:
        """The map with n nodes, as `nib` gives it with steps=n."""
        return self.to_map(self.scores(n, midpoints=midpoints)).float().cpu()

    def relative_gap(self, n: int, *, midpoints: bool = False) -> Tensor:
        """|sum of all scores - change| / |change| with n nodes, (B,): Theorem 3 says that it tends
        to 0."""
        total = self.scores(n, midpoints=midpoints).flatten(1).sum(1)
        return ((total - self.change).abs() / self.change.abs()).cpu()


@in_float32
@torch.enable_grad()
def nib_path(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    counts: Sequence[int] = (10,),
    layer: int | None = None,
    chunk: int = 64,
) -> Path:
    """S(t) and what each place adds to its slope, at every node that `nib` visits with steps = n,
    for each n in counts. One walk with 200 nodes holds those of 100, 50, 40, ... too.

    The other arguments are those of `nib`.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    if isinstance(counts, (str, bytes)) or not isinstance(counts, Iterable):
        raise TypeError(f"counts must be a sequence of integers, got {counts!r}")
    counts = list(counts)
    if not counts:
        raise ValueError("counts is empty: name at least one number of nodes")
    for n in counts:
        check_number("counts", n, 1, integer=True)
    check_counts(chunk=chunk)
    split = encoder.split(encoder.default_layer if layer is None else layer)
    with torch.no_grad():
        z = split.prefix(inputs)
    nodes = tuple(sorted({Fraction(k, n) for n in counts for k in range(n + 1)}))
    t = torch.tensor([float(node) for node in nodes], device=z.device)
    slopes = z.new_zeros(len(nodes), *z.sum(split.channel_dim).shape)
    similarity = torch.zeros(len(nodes), len(z), device=z.device)
    for i, k, s, slope in along(encoder, split, z, targets, t, chunk):
        similarity[k, i] = s
        slopes[k, i] = slope.sum(split.channel_dim)
    return Path(
        nodes=nodes,
        similarity=similarity.cpu(),
        slopes=real_places(slopes, z).cpu(),
        to_map=lambda scores: split.to_map(scores.to(z), like=z),
    )


def along(
    encoder: Encoder, split: Split, z: Tensor, targets: Tensor, t: Tensor, chunk: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The path of every sample, some rows at a time: whose row it is and at which t, (rows,) each,
    S there (rows,), and z dS/dz (rows, ...)."""
    for rows in row_groups(encoder, len(z), len(t), chunk):
        i, k = rows // len(t), rows % len(t)
        x = (t[k].to(z).view(-1, *[1] * (z.ndim - 1)) * z[i]).requires_grad_()
        s = match(encoder, split.suffix(x, like=z, rows=i), targets[i])
        (g,) = torch.autograd.grad(s.sum(), x)
        yield i, k, s.detach(), g * z[i]


def real_places(places: Tensor, z: Tensor) -> Tensor:
    """Scores of places, 0 where a text has padding."""
    return places * z.valid if isinstance(z, Latent) else places
