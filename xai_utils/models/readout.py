"""What an image encoder's end makes of single tokens."""

from torch import Tensor

from ..types import ImageEncoder


def read_tokens(encoder: ImageEncoder, z: Tensor) -> Tensor:
    """The embedding that each token of the last latent has alone, as if it were the one that is
    pooled: (B, T, D).

    encoder  with a split; the end of its forward pass gets copies of one token, in the place of the
             class token and of every other, so that a class token, a mean and pooling by attention
             all read that token
    z        (B, T, width), any of its tokens, behind the last block; of a CNN (B, C, h, w), whose
             cells are the tokens, row by row
    Raises ValueError for a text encoder, or one without a split.
    """
    if not isinstance(encoder, ImageEncoder):
        raise ValueError(f"read_tokens needs an image encoder, {encoder.name} is none")
    end = encoder.split(encoder.depth)
    if encoder.tokens is None:
        cells = z.movedim(1, -1).flatten(1, 2)  # (B, h w, C)
        alone = cells.flatten(0, 1)[:, :, None, None]
    else:
        cells = z
        alone = cells.flatten(0, 1)[:, None].expand(-1, encoder.tokens[0] + 1, -1)
    return end.suffix(alone).unflatten(0, cells.shape[:2])
