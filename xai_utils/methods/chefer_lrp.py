"""Chefer et al., CVPR 2021: attention weighted by relevance that is propagated back through a
classifier's ViT."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_number
from ..models.attention import AttentionBlock, attention_blocks
from ..types import Attribution, ImageEncoder
from .attention import gradients
from .base import method


@method
def chefer_lrp(
    encoder: ImageEncoder, inputs: Tensor, targets: Tensor, *, chunk: int = 64
) -> Attribution:
    """Relevance through every layer, then a rollout of it (Chefer et al. 2021, Eqs. 2 to 14).

        R = one-hot class at the logits
        z-rules back to the attention of each block: R_l (heads, T, T)
        A_l = I + mean over heads (dy/dA_l R_l)+,   map = class token's row of A_L ... A_1

    encoder  a classifier made of timm's ViT blocks
    inputs   (B, 3, H, W)
    targets  (B,) class indices
    chunk    how many rows are in memory at once; does not change the result
    Returns the map (B, H, W), >= 0, bilinear between tokens; what the class token gives itself is
    left out. Where the paper leaves it open: normalisations, GELU and softmax pass relevance on as
    it is, biases take none.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    check_number("chunk", chunk, 1, integer=True)
    if targets.ndim != 1:
        raise ValueError(
            f"chefer_lrp needs class targets (B,), got {tuple(targets.shape)}: `chefer` takes"
            " embeddings"
        )
    blocks = attention_blocks(encoder)
    if encoder.parts.last is None or not hasattr(encoder.parts.blocks[0], "mlp"):
        raise ValueError(
            f"chefer_lrp needs a classifier made of timm's ViT blocks, {encoder.name} is none"
        )
    split, maps = encoder.split(0), []
    for rows in row_groups(encoder, len(inputs), 1, chunk):
        with torch.no_grad():
            z = split.prefix(inputs[rows])
        maps.append(one_group(encoder, z, blocks, targets[rows].to(z.device)))
    map = split.to_map(torch.cat(maps)).float().cpu()
    return Attribution(map=map, unit="relevance", signed=False, cost=dict(forwards=2, backwards=2))


def one_group(encoder, z: Tensor, blocks: list[AttentionBlock], classes: Tensor) -> Tensor:
    """(b, T): the reading tokens' row of the product of the A_l."""
    norm, readout = encoder.parts.last

    def logit(n):
        return encoder.logits(readout(n)).gather(1, classes[:, None])[:, 0]

    states = [z]
    with torch.no_grad():
        for block in blocks:
            states.append(block(states[-1], None)[0])
        n = norm(states[-1])
    _, attention, _, grads = gradients(z, blocks, None, lambda z: logit(norm(z)))
    r, w = by_gradient(logit, n)  # linear from here to the logit: its positive shares
    row = (w.abs().sum(-1) > 0).to(z)
    row = flow = (row / row.sum(1, keepdim=True))[:, None]  # (b, 1, T)
    for module, block, state, a, g in reversed(
        list(zip(encoder.parts.blocks, blocks, states, attention, grads))
    ):
        r, cam = through_block(module, block, state, a, r)
        flow = flow + flow @ (g * cam).clamp(min=0).mean(1)
    return (flow - row)[:, 0].detach()


@torch.enable_grad()
def by_gradient(f, x: Tensor) -> tuple[Tensor, Tensor]:
    """The relevance 1 of a linear f(x), shared by the positive terms of x df/dx, and df/dx."""
    x = x.detach().requires_grad_()
    (w,) = torch.autograd.grad(f(x).sum(), x)
    share = (x.detach() * w).clamp(min=0)
    return share / share.flatten(1).sum(1).view(-1, 1, 1).clamp(min=1e-12), w


@torch.no_grad()
def through_block(
    module, block: AttentionBlock, z: Tensor, a: Tensor, r: Tensor
) -> tuple[Tensor, Tensor]:
    """Relevance r of a block's output -> that of its input z and that of its attention a (b, heads,
    T, T)."""
    q, k, v = block.heads(z)
    mixed = (a @ v).transpose(1, 2).flatten(2)
    branch = module.ls1(module.attn.proj(mixed))
    x = z + branch
    n = module.norm2(x)
    hidden = module.mlp.fc1(n)
    active = module.mlp.act(hidden)
    r_x, r_mlp = shared(x, module.ls2(module.mlp.fc2(active)), r)
    r = r_x + linear(n, module.mlp.fc1.weight, linear(active, module.mlp.fc2.weight, r_mlp))
    r_z, r_branch = shared(z, branch, r)
    r_mixed = (
        linear(mixed, module.attn.proj.weight, r_branch)
        .unflatten(2, (a.shape[1], -1))
        .transpose(1, 2)
    )
    r_a, r_v = product(a, v, r_mixed)
    r_q, r_k = product(q, k.mT, r_a)  # the softmax passes it on
    r_qkv = (
        torch.stack([r_q, r_k.mT, r_v]).permute(1, 3, 0, 2, 4).flatten(2)
    )  # (b, T, 3 width) as qkv's output
    return r_z + linear(module.norm1(z), module.attn.qkv.weight, r_qkv), r_a


def linear(x: Tensor, weight: Tensor, r: Tensor) -> Tensor:
    """Eq. 4: every output's relevance goes to the inputs whose terms x_j w_ij are positive, in
    proportion."""
    parts = [(x.clamp(min=0), weight.clamp(min=0)), (x.clamp(max=0), weight.clamp(max=0))]
    s = divided(r, sum(F.linear(part, w) for part, w in parts))
    return sum(part * (s @ w) for part, w in parts)


def shared(u: Tensor, v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 5, 8 and 9 for u + v."""
    s = divided(r, u + v)
    return balanced(u * s, v * s, r)


def product(u: Tensor, v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 5, 8 and 9 for the matrix product u v."""
    s = divided(r, u @ v)
    return balanced(u * (s @ v.mT), v * (u.mT @ s), r)


def balanced(r_u: Tensor, r_v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Scale two relevances so that together they are as much as r, each as much as its absolute sum
    says."""
    axes = tuple(range(1, r.ndim))
    sums = [part.sum(axes, keepdim=True) for part in (r_u, r_v)]
    whole = r.sum(axes, keepdim=True) / (sums[0].abs() + sums[1].abs()).clamp(min=1e-12)
    return tuple(
        part * divided(total.abs() * whole, total) for part, total in zip((r_u, r_v), sums)
    )


def divided(a: Tensor, b: Tensor) -> Tensor:
    """a / b, kept finite where b is next to 0."""
    return a / (b + torch.where(b < 0, -1e-9, 1e-9))
