"""An encoder whose weights may be changed for a while: for fine-tuning and for randomisation
tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..types import Encoder


@contextmanager
def own_weights(encoder: Encoder) -> Iterator[dict[str, nn.Parameter]]:
    """Within the block `encoder.weights` are copies that may be changed and trained; behind it, the
    old ones again.

    The same encoder object, and every method called with it, uses them meanwhile. Not for two
    threads at once.
    """
    if not encoder.weights:
        raise ValueError(
            f"{encoder.name} shows no weights to change: wrap an nn.Module instead of a function"
        )
    old = {name: p.data for name, p in encoder.weights.items()}
    try:
        for p in encoder.weights.values():
            p.data = p.data.clone()
            p.requires_grad_(True)
        yield encoder.weights
    finally:
        for name, p in encoder.weights.items():
            p.requires_grad_(False)
            p.data, p.grad = old[name], None


def weight_groups(encoder: Encoder, inputs) -> dict[str, list[str]]:
    """Names of the weights by depth, from the output to the input: "tail", "block 11", ..., "block
    0", "stem".

    The tail is what has a gradient behind the last block, and the classifier's head; groups without
    weights are left out.
    """
    blocks = encoder.parts.modules or encoder.parts.blocks
    owner = {id(p): f"block {i}" for i, b in enumerate(blocks) for p in b.parameters()}
    head = getattr(encoder, "head", None)
    owner |= {id(p): "tail" for p in (head.parameters() if isinstance(head, nn.Module) else ())}
    split = encoder.split(encoder.depth)
    with own_weights(encoder) as weights:
        names = list(weights)
        with torch.no_grad():
            z = split.prefix(inputs)
        h = split.suffix(z.detach().requires_grad_(), like=z)
        used = torch.autograd.grad(h.sum(), [weights[n] for n in names], allow_unused=True)
    groups: dict[str, list[str]] = {
        "tail": [],
        **{f"block {i}": [] for i in reversed(range(encoder.depth))},
        "stem": [],
    }
    for name, gradient in zip(names, used):
        groups[owner.get(id(weights[name]), "stem" if gradient is None else "tail")].append(name)
    return {group: members for group, members in groups.items() if members}


def randomise(weights: dict[str, nn.Parameter], names: list[str], seed: int) -> None:
    """Replace the named weights by normal numbers of each tensor's own mean and standard deviation.

    The scale of every layer stays, so that signals neither die nor explode in networks with folded
    norms.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names:
            w = weights[name]
            spread = w.std() if w.numel() > 1 else w.abs().mean()
            w.copy_(torch.randn(w.shape, generator=generator).to(w) * spread + w.mean())
