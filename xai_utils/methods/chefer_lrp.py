"""Chefer et al., CVPR 2021: attention weighted by relevance that is propagated back through a
classifier's ViT."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_counts
from ..match import match
from ..models.attention import attention_blocks
from ..models.blocks import Affine, AttentionBlock
from ..models.wrapping import chain
from ..types import Attribution, ImageEncoder
from .attention import gradients, readers
from .base import method
from .relevance import linear, positive_shares, product, shared

LINEAR = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear, Affine)


@method
def chefer_lrp(
    encoder: ImageEncoder, inputs: Tensor, targets: Tensor, *, chunk: int = 64
) -> Attribution:
    """Relevance through every layer, then a rollout of it (Chefer et al. 2021, Eqs. 2 to 14).

        R = one-hot class at the logits
        z-rules back to the attention of each block: R_l (heads, T, T)
        A_l = I + mean over heads (dy/dA_l R_l)+,   map = p (A_L ... A_1 - I)
        p     the class token, or equal shares for the tokens that are averaged

    encoder  a classifier made of transformer blocks that normalise first and have a plain MLP, with
             a linear head on the class token or on the tokens' mean
    inputs   (B, 3, H, W)
    targets  (B,) class indices
    chunk    how many rows are in memory at once; does not change the result
    Returns the map (B, H, W), >= 0, bilinear between tokens; what the class token gives itself is
    left out. Where the paper leaves it open: normalisations, layer scales, rotary embeddings, GELU
    and softmax pass relevance on as it is, biases take none. Raises ValueError for gated MLPs and
    for tokens that are pooled by attention.
    """
    inputs, targets = check_call(encoder, inputs, targets, classes=True)
    check_counts(chunk=chunk)
    if targets.ndim != 1:
        raise ValueError(
            f"chefer_lrp needs class targets (B,), got {tuple(targets.shape)}: `chefer` takes"
            " embeddings"
        )
    blocks = attention_blocks(encoder)
    for block in blocks:
        check_block(encoder, block)
    split, maps = encoder.split(0), []
    for rows in row_groups(encoder, len(inputs), 1, chunk):
        with torch.no_grad():
            z = split.prefix(inputs[rows])
        maps.append(one_group(encoder, z, blocks, targets[rows].to(z.device)))
    map = split.to_map(torch.cat(maps)).float().cpu()
    return Attribution(map=map, unit="relevance", signed=False, cost=dict(forwards=2, backwards=2))


def one_group(encoder, z: Tensor, blocks: list[AttentionBlock], classes: Tensor) -> Tensor:
    """(b, T): what the reading tokens' row of the product of the A_l has beside itself."""
    end = encoder.split(encoder.depth)

    def logit(z):
        return match(encoder, end.suffix(z), classes, logit=True)

    states, attention, _, grads = gradients(z, blocks, None, logit)
    r = at_the_end(encoder, states[-1], classes, blocks[-1].dtype)
    row = readers(logit, states[-1])  # (b, 1, T)
    gained = torch.zeros_like(row)  # apart from `row`, beside which it may be too small to be added
    for block, state, a, g in reversed(list(zip(blocks, states, attention, grads))):
        r, r_a = through_block(block, state, a, r)
        gained = gained + (row + gained) @ (g * r_a).clamp(min=0).mean(1)
    return gained[:, 0]


def check_block(encoder: ImageEncoder, block: AttentionBlock) -> None:
    """Raise ValueError unless the rules cover the block: normalised first, a plain MLP, weights
    that are what its linear layers do."""
    weighted = (*block.qkv, block.out, *block.layers[:1], *block.layers[-1:])
    odd = [type(m).__name__ for m in weighted if type(m) not in LINEAR]
    if not block.norm_first:
        why = "its blocks normalise last"
    elif odd:
        why = f"its blocks have a {odd[0]} where a linear layer is wanted"
    elif not has_plain_mlp(block, encoder.device):
        why = "the MLP of its blocks is gated, or otherwise not linear, activation, linear"
    else:
        return
    raise ValueError(
        f"chefer_lrp cannot propagate relevance through {encoder.name}: {why}; `chefer` and the"
        " other attention methods can read it"
    )


@torch.no_grad()
def has_plain_mlp(block: AttentionBlock, device: torch.device) -> bool:
    if not block.layers or block.layers[0].out_features != block.layers[-1].in_features:
        return False
    n = torch.linspace(-2, 2, block.layers[0].in_features)[None].to(device, block.dtype)
    return close(chain(block.layers)(n), block.mlp(n), block.dtype)


def close(a: Tensor, b: Tensor, dtype: torch.dtype, most: float = 1e-3) -> bool:
    """Alike but for a share `most` of the largest, which leaves room for TF32, or for the rounding
    of `dtype` if that is more."""
    most = max(most, 8 * torch.finfo(dtype).eps)
    return a.shape == b.shape and bool((a - b).abs().max() <= most * b.abs().max())


def at_the_end(encoder: ImageEncoder, z: Tensor, classes: Tensor, dtype: torch.dtype) -> Tensor:
    """Relevance of the last block's output z, (b, T, width): it sums to 1, or to 0 where no weight
    of the head speaks for the class. dtype is that of the pieces behind.

    Behind a normalisation of the tokens that is followed by what is linear, tokens have the
    positive shares of the logit. Where the mean of the tokens is normalised, its relevance is that
    of the embedding, and tokens share it out in proportion to what they give to the mean.
    Raises ValueError for other ways from tokens to logits.
    """
    norm, readout = encoder.parts.last or (nn.Identity(), encoder.parts.tail)

    def embed(n):
        return readout(n.to(dtype)).to(z)

    def logit(h):
        return match(encoder, h, classes, logit=True)

    with torch.no_grad():
        n = norm(z.to(dtype)).to(z)
        h = embed(n)
        if not is_linear(encoder.head, h, dtype):
            raise ValueError(f"chefer_lrp needs a linear head, that of {encoder.name} is not")
        if is_linear(embed, n, dtype):
            return positive_shares(lambda n: logit(embed(n)), n)
        read = read_from(embed, n)  # (T,) bool
        mean = n[:, read].mean(1)  # (b, width)
        if not normalises_mean(embed, n, read, mean, dtype):
            raise ValueError(
                f"chefer_lrp needs a class token or a mean over tokens, then at most a"
                f" normalisation and a linear head; {encoder.name} pools its tokens otherwise"
            )
        terms = (n[:, read] * mean.sign()[:, None]).clamp(min=0)  # of the mean's own sign
        total = terms.sum(1, keepdim=True)
        shares = torch.where(total > 0, terms / total, 1 / terms.shape[1])
        r = torch.zeros_like(n)
        r[:, read] = shares * positive_shares(logit, h)[:, None]
        return r


def is_linear(f, x: Tensor, dtype: torch.dtype) -> bool:
    """Up to a constant, between x and x with its channels in reverse or of the other sign."""
    halfway = ((f((x + y) / 2), (f(x) + f(y)) / 2) for y in (x.flip(-1), -x))
    return all(close(middle, mean, dtype) for middle, mean in halfway)


@torch.enable_grad()
def read_from(f, n: Tensor) -> Tensor:
    """Which tokens of n, (b, T, width), f depends on: (T,) bool."""
    n = n.detach().requires_grad_()
    h = f(n)
    some = torch.linspace(1, 2, h.shape[1]).to(h)  # the plain sum behind a norm is constant
    (g,) = torch.autograd.grad((h * some).sum(), n)
    return (g.abs().sum(-1) > 0).any(0)


def normalises_mean(f, n: Tensor, read: Tensor, mean: Tensor, dtype: torch.dtype) -> bool:
    """f(n) is a layer norm or an RMS norm, weight and bias included, of the mean of the tokens
    read."""

    def of_mean(v):
        return f(torch.where(read[:, None], v[:, None], n[: len(v)]))

    signs = (1 - 2 * (torch.arange(n.shape[2]) % 2)).to(n)[None]
    up, down, unit = of_mean(signs), of_mean(-signs), mean / mean.std(1, keepdim=True)
    if up.shape != signs.shape or not close(of_mean(mean), f(n), dtype, 3e-3):
        return False
    for norm in (F.layer_norm, F.rms_norm):
        own = norm(unit, unit.shape[1:]) / norm(signs, signs.shape[1:])
        if close(of_mean(unit), (up - down) / 2 * own + (up + down) / 2, dtype, 3e-3):
            return True
    return False


@torch.no_grad()
def through_block(block: AttentionBlock, z: Tensor, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance r of a block's output -> that of its input z and that of its attention a (b, heads,
    T, T)."""
    into, *between, out = block.layers
    z = z.to(block.dtype)
    before = block.norm1(z)
    q, k, v = block.split_heads(before)
    mixed = block.mix(a, v)
    branch = block.scale1(block.out(mixed))
    x = z + branch
    n = block.norm2(x)
    active = chain(between)(into(n))
    r_x, r_mlp = shared(x, block.scale2(out(active)), r)
    r = r_x + linear(n, into.weight, linear(active, out.weight, r_mlp))
    r_z, r_branch = shared(z, branch, r)
    r_mixed = linear(mixed, block.out.weight, r_branch).unflatten(2, (block.heads, -1))
    r_a, r_v = product(a, v, r_mixed.transpose(1, 2))
    r_q, r_k = product(q, k.mT, r_a)  # the softmax passes it on
    r_qkv = torch.stack([r_q, r_k.mT, r_v]).permute(1, 3, 0, 2, 4).flatten(2)  # (b, T, 3 width)
    weight = torch.cat([part.weight for part in block.qkv])
    return r_z + linear(before, weight, r_qkv), r_a
