"""An encoder's transformer blocks run again in pieces, from their own weights, so that their
attention can be looked at. models/dissection.py knows the blocks."""

import torch
from torch import Tensor

from ..types import Encoder, TextEncoder
from .blocks import AttentionBlock
from .dissection import dissect

FEW = 4  # tokens on which a block is compared with its pieces


def attention_blocks(encoder: Encoder) -> list[AttentionBlock]:
    """Every block of an encoder in pieces, after a look at whether they are, on a few tokens.

    Raises ValueError for an encoder that is no transformer, for a kind of block that is not known,
    and for one that gives anything else than its pieces do (a subclass with a forward pass of its
    own, a part that was replaced).
    """
    parts = encoder.parts
    blocks = parts.blocks if parts else ()
    modules = parts.modules or blocks if parts else ()
    known, unknown = [], {} if blocks else {"no block": None}
    for block, module in zip(blocks, modules):
        try:
            known.append(dissect(module, block if block is not module else None))
        except ValueError as error:
            unknown[str(error)] = None
        except AttributeError as error:  # a part of another kind
            unknown[f"{type(module).__name__} ({error})"] = None
    if unknown:
        raise ValueError(
            f"attention cannot be read from {encoder.name}: it has {', '.join(unknown)}, not blocks"
            " of ViT, CLIP or BERT whose attention can be taken apart"
        )
    check_rebuilt(encoder, known, modules)
    return known


@torch.no_grad()
def check_rebuilt(encoder: Encoder, rebuilt: list[AttentionBlock], modules) -> None:
    """Every block and its pieces give the same, but for rounding, of one latent of noise."""
    is_text = isinstance(encoder, TextEncoder)
    size = getattr(encoder, "image_size", None)
    z = encoder.split(0).prefix(
        ["a photo of a cat", "cat"] if is_text else torch.zeros(1, 3, *size, device=encoder.device)
    )
    valid = z.valid if is_text else None
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z)
    allowed = allowed_tokens(encoder, valid)
    for i, (pieces, block) in enumerate(zip(rebuilt, encoder.parts.blocks)):
        given = noise.to(pieces.dtype)
        if block is modules[i] and pieces.bias is None and not is_text:
            given = given[:, :FEW]  # nothing in it depends on how many tokens there are
        got = pieces(given, allowed)[0]
        wanted = block(given.clone(), valid) if is_text else block(given.clone())
        real = slice(None) if valid is None else valid
        if not alike(got[real].double(), wanted[real].double(), given[real].double(), pieces.dtype):
            raise ValueError(
                f"attention cannot be read from {encoder.name}: block {i},"
                f" {type(modules[i]).__name__}, gives something else than the attention and the"
                " MLP of its class do: its forward pass or one of its parts was replaced"
            )


def alike(got: Tensor, wanted: Tensor, z: Tensor, dtype: torch.dtype) -> bool:
    """Two outputs of a block at z differ only by rounding, TF32's included.

    What counts is what the block adds to z, which a small layer scale makes small beside z itself.
    """
    if got.shape != wanted.shape:
        return False
    eps = torch.finfo(dtype).eps
    added, whole = (wanted - z).abs().max(), wanted.abs().max()
    return bool((got - wanted).abs().max() <= max(2e-3, 8 * eps) * added + 8 * eps * whole)


def allowed_tokens(encoder: Encoder, valid: Tensor | None) -> Tensor | None:
    """Which token (row) may look at which (column): (B, 1, T, T) bool; None for images, where all
    see all."""
    if not isinstance(encoder, TextEncoder):
        return None
    first = encoder.parts.blocks[0]
    if hasattr(first, "unseen"):  # a tower with a mask of its own
        return ~first.unseen(valid)[:, None]
    seen = valid[:, None, None, :].expand(-1, 1, valid.shape[1], -1)
    return seen.tril() if encoder.causal else seen
