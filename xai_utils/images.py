"""The way of a picture into an encoder: resized, cropped, normalised."""

import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2


def image_transform(size: tuple[int, int], mean, std) -> v2.Compose:
    """PIL -> (3, H, W): shorter side resized (bicubic), centre cropped, normalised. Cuts no border
    beyond that."""
    return v2.Compose(
        [
            v2.Lambda(lambda pil: fit(pil.convert("RGB"), size)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )


def fit(pil, size: tuple[int, int], *, nearest: bool = False):
    """Resize so that `size` (H, W) is just covered, keep the centre. Pictures and their masks take
    the same way."""
    way = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return pil if pil.size == size[::-1] else ImageOps.fit(pil, size[::-1], way)
