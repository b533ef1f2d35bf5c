"""Methods that read a transformer's attention: rollout, AG-CAM, Chefer (ICCV 2021), LeGrad, and two
of NIB's baselines.

Attention and its gradients come from running the blocks again from their own weights
(models/attention.py).

    A_l (heads, T, T)  attention of block l
    S                  the match with the target
    G_l                dS/dA_l
    (.)+               positive part
    p (T)              which tokens the embedding is read from: the class token, a text's last one,
                       or the mean of all
"""

import torch
from torch import Tensor

from ..arguments import check_call
from ..batching import row_groups
from ..checks import check_counts, check_number
from ..match import match
from ..models.attention import allowed_tokens, attention_blocks
from ..types import Attribution, Encoder, Latent
from .base import method


@method
def attention_rollout(encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64) -> Attribution:
    """Where information can flow from (Abnar and Zuidema 2020): p (A_L + I)/2 ... (A_1 + I)/2, A
    averaged over heads.

    It knows nothing of the target: two targets get the same map. Shapes as in `chefer`; unit: share
    of attention.
    """

    def roll(z, blocks, allowed, score):
        flow = torch.eye(z.shape[1], device=z.device)
        for block in blocks:
            z, a, _ = block(z, allowed)
            flow = flow.to(a)
            flow = (a.mean(1) @ flow + flow) / 2  # rows of A sum to 1, so those of the product do
        return readers(score, z) @ flow

    return read(encoder, inputs, targets, roll, 0, chunk, unit="share of attention", backwards=0)


@method
def chefer(
    encoder: Encoder, inputs, targets: Tensor, *, first: int = 0, chunk: int = 64
) -> Attribution:
    """Generic attention relevance (Chefer et al., ICCV 2021, Eqs. 5, 6): R = I, R += mean over
    heads (G_l A_l)+ R; p R.

    encoder  an image or a text encoder made of transformer blocks
    inputs   (B, 3, H, W) or B texts
    targets  (B, D) embeddings (S is the cosine) or (B,) classes (S is the logit)
    first    the first block that counts; depth - 1 is what NIB's released code calls Chefer
    chunk    how many rows are in memory at once; does not change the result
    Returns the map (B, H, W), for texts (B, T), >= 0, bilinear between tokens; what a token gives
    itself by standing in R from the start is left out. For Chefer et al., CVPR 2021, see
    `chefer_lrp`.
    """

    def relevance(z, blocks, allowed, score):
        (*_, z), a, _, g = gradients(z, blocks, allowed, score)
        gained = torch.zeros_like(a[0][:, 0])  # R - I, which may be too small beside I
        for a_l, g_l in zip(a, g):
            step = (g_l * a_l).clamp(min=0).mean(1)
            gained = gained + step + step @ gained
        return readers(score, z) @ gained

    return read(encoder, inputs, targets, relevance, first, chunk)


@method
def ag_cam(encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64) -> Attribution:
    """Attention-guided CAM (Leem and Seo 2024): p sum over blocks and heads of sigmoid(q
    k'/sqrt d) (G_l)+.

    The scores before the softmax stand for the feature map, so that a few strong tokens do not take
    all. As in `chefer`.
    """

    def guided(z, blocks, allowed, score):
        (*_, z), _, s, g = gradients(z, blocks, allowed, score)
        return readers(score, z) @ sum(
            (s_l.sigmoid() * g_l.clamp(min=0)).sum(1) for s_l, g_l in zip(s, g)
        )

    return read(encoder, inputs, targets, guided, 0, chunk)


@method
def legrad(
    encoder: Encoder, inputs, targets: Tensor, *, first: int = 0, chunk: int = 64
) -> Attribution:
    """How each block's attention feeds what the embedding would be right behind it (Bousselham et
    al. 2024, LeGrad).

        S_l = S if block l were the last
        map = mean over blocks, heads and query tokens of (dS_l / dA_l)+

    first  the first block that counts. Otherwise as `chefer`.
    """

    def layerwise(z, blocks, allowed, score):
        maps, queries = (
            [],
            (
                z.shape[1]
                if allowed is None
                else allowed.any(2, keepdim=True).sum(-1, keepdim=True)[:, 0]
            ),
        )
        for block in blocks:
            (*_, z), _, _, (g,) = gradients(z, [block], allowed, score)
            maps.append(g.clamp(min=0).mean(1).sum(1, keepdim=True) / queries)
        return torch.stack(maps).mean(0)

    return read(encoder, inputs, targets, layerwise, first, chunk)


@method
def attention_saliency(
    encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64
) -> Attribution:
    """What NIB's released code calls saliency map: p mean over heads of |G|, the last block. As in
    `chefer`."""

    def absolute(z, blocks, allowed, score):
        (*_, z), _, _, (g,) = gradients(z, blocks, allowed, score)
        return readers(score, z) @ g.abs().mean(1)

    return read(encoder, inputs, targets, absolute, -1, chunk)


@method
def attention_fast_ig(encoder: Encoder, inputs, targets: Tensor, *, chunk: int = 64) -> Attribution:
    """What NIB's released code calls FastIG: p mean over heads of G A, the last block; signed. As
    in `chefer`."""

    def product(z, blocks, allowed, score):
        (*_, z), (a,), _, (g,) = gradients(z, blocks, allowed, score)
        return readers(score, z) @ (a * g).mean(1)

    return read(encoder, inputs, targets, product, -1, chunk, signed=True)


@torch.enable_grad()
def gradients(z, blocks, allowed, score):
    """Run `blocks` from z: the latents from z to their output, then for each block A, the scores
    before the softmax, and dS/dA."""
    states, attention, before = [z.detach().requires_grad_()], [], []
    for block in blocks:
        z, a, s = block(states[-1], allowed)
        states.append(z)
        attention.append(a)
        before.append(s)
    grads = torch.autograd.grad(score(z).sum(), attention, allow_unused=True)
    if any(g is None for g in grads):
        raise ValueError(
            "encoder has a block whose output has no gradient with respect to its attention, as"
            " quantised layers have none; attention_rollout, rise, sbsm and kernel_shap need none"
        )
    return *([t.detach() for t in kept] for kept in (states, attention, before)), grads


@torch.enable_grad()
def readers(score, z: Tensor) -> Tensor:
    """p, (b, 1, T): equal shares for the tokens that the embedding is read from directly, those
    with a gradient at the end."""
    z = z.detach().requires_grad_()
    (g,) = torch.autograd.grad(score(z).sum(), z)
    read_from = (g.abs().sum(-1) > 0).to(z)
    return (read_from / read_from.sum(1, keepdim=True).clamp(min=1))[:, None]


def read(
    encoder, inputs, targets, job, first, chunk, *, unit="relevance", signed=False, backwards=1
) -> Attribution:
    """Run `job` on groups of samples at the input of block `first`; it gives (b, 1, T), one score
    per token."""
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_counts(chunk=chunk)
    depth = encoder.depth
    if depth:
        check_number("first", first, -depth, depth - 1, integer=True)
    blocks = attention_blocks(encoder)
    split, end = encoder.split(first % depth), encoder.split(depth)
    scores = []
    with torch.no_grad():
        z = split.prefix(inputs)
        for rows in row_groups(encoder, len(z), 1, chunk):

            def score(last, rows=rows):
                h = end.suffix(last, like=z, rows=rows)
                return match(encoder, h, targets[rows], logit=True)

            allowed = allowed_tokens(encoder, z.valid[rows] if isinstance(z, Latent) else None)
            scores.append(job(z[rows], blocks[first:], allowed, score)[:, 0])
    tokens = None if isinstance(inputs, Tensor) else encoder.tokenize(inputs)[2]
    map = split.to_map(torch.cat(scores), like=z).float().cpu()
    return Attribution(
        map=map, unit=unit, signed=signed, cost=dict(forwards=1, backwards=backwards), tokens=tokens
    )
