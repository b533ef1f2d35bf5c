"""The way of a picture into an encoder: read, upright, RGB, resized, cropped, normalised."""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from .checks import check_number

ROUNDING = 1e-6  # a float picture may leave 0..1 by so much


def rgb(picture, name: str = "picture") -> Image.Image:
    """Any picture as PIL, RGB and upright. One that is so already comes back itself.

    picture  PIL of any mode; a path; an array (H, W), (H, W, 3) or (H, W, 4) in the order red,
             green, blue, alpha, of uint8, uint16, bool or floats in 0..1; a tensor of the same
             kinds (1, H, W), (3, H, W) or (4, H, W)
    name     what errors call it
    It is turned as its EXIF orientation says, 16 bits and floats are scaled to 8 bits, what is
    transparent is white, and of an animation the frame counts that it shows, which is the first of
    a file. Raises ValueError for a file that holds no whole picture and for numbers whose scale
    cannot be told, TypeError for anything else.
    """
    if isinstance(picture, Tensor):
        picture = channels_behind(picture, name)
    if isinstance(picture, np.ndarray):
        return on_white(image_of(picture, name))
    if not isinstance(picture, (str, os.PathLike, Image.Image)):
        raise TypeError(
            f"{name} must be a PIL image, a path, an array (H, W, 3) or a tensor (3, H, W), got"
            f" {type(picture).__name__}"
        )
    try:
        image = read(picture)
    except Exception as error:  # Pillow's many, some of them not even an OSError
        file = picture if not isinstance(picture, Image.Image) else getattr(picture, "filename", "")
        where = f"{name} {os.fspath(file)!r}" if file else name
        raise ValueError(f"{where} cannot be read as a picture: {error}") from error
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return deep(image, name)
    return on_white(image)


def read(picture) -> Image.Image:
    """PIL or a path -> PIL, loaded and upright, of whatever mode."""
    if isinstance(picture, Image.Image):
        return upright(picture)
    with Image.open(picture) as image:
        return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says, which is then removed."""
    image.load()
    if not all(image.size):
        raise ValueError(f"it has no pixels, its size is {image.size}")
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def on_white(image: Image.Image) -> Image.Image:
    """PIL with 8 bits a channel -> RGB, what is transparent white."""
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def deep(image: Image.Image, name: str) -> Image.Image:
    """A grey PIL image with more than 8 bits a pixel -> RGB."""
    values = np.asarray(image)
    if image.mode == "I":
        low, high = values.min(), values.max()
        if low < 0 or high > 65535 or 0 < high < 256:
            raise ValueError(
                f"{name} of mode I must hold 16 bits, so reach into 256..65535, got values from"
                f" {low} to {high}: bring it to mode L or I;16"
            )
        values = values.astype(np.uint16)
    grey = eight_bits(values, f"{name} of mode {image.mode}")
    clear = image.info.get("transparency")
    grey = grey if clear is None else np.where(values == clear, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def channels_behind(picture: Tensor, name: str) -> np.ndarray:
    """A tensor (1, H, W), (3, H, W) or (4, H, W) as an array (H, W) or (H, W, 3 or 4)."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3, 4):
        raise ValueError(
            f"{name}, where it is a tensor, must be one picture (3, H, W), got"
            f" {tuple(picture.shape)}"
        )
    picture = picture.detach().cpu()
    picture = picture.float() if picture.is_floating_point() else picture
    values = picture.permute(1, 2, 0).numpy()
    return values[..., 0] if values.shape[2] == 1 else values


def image_of(values: np.ndarray, name: str) -> Image.Image:
    """An array (H, W), (H, W, 3) or (H, W, 4) as PIL of mode L, RGB or RGBA."""
    if not values.size or values.ndim != 2 and (values.ndim != 3 or values.shape[2] not in (3, 4)):
        raise ValueError(
            f"{name}, where it is an array, must be (H, W), (H, W, 3) or (H, W, 4), got"
            f" {values.shape}"
        )
    return Image.fromarray(eight_bits(values, name))


def eight_bits(values: np.ndarray, name: str) -> np.ndarray:
    """uint8, uint16, bool or floats in 0..1 -> uint8, 255 being the largest that each can be."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return np.uint8(255) * values
    if np.issubdtype(values.dtype, np.uint16):
        return np.uint8(np.round(values / 257))
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(
            f"{name} must hold uint8, uint16, bool or floats in 0..1, got {values.dtype}"
        )
    low, high = values.min(), values.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(f"{name} of floats must lie in 0..1, got values from {low:g} to {high:g}")
    return np.uint8(np.round(255 * values.clip(0, 1)))


def image_transform(
    size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Callable[..., Tensor]:
    """A function picture -> (3, H, W) float32: what `rgb` takes, shorter side resized (bicubic),
    centre cropped, normalised. Cuts no border beyond that.

    It can be pickled, so that workers of a DataLoader can use it. Raises ValueError for a size,
    mean or standard deviation that is none.
    """
    size = check_size(size)
    if not are_numbers(mean, 3):
        raise ValueError(f"mean must be three finite numbers, got {mean!r}")
    if not are_numbers(std, 3) or min(std) <= 0:
        raise ValueError(f"std must be three finite numbers above 0, got {std!r}")
    return partial(normalised, size=size, mean=[*map(float, mean)], std=[*map(float, std)])


def normalised(picture, size: tuple[int, int], mean: list[float], std: list[float]) -> Tensor:
    pixels = F.pil_to_tensor(fit(rgb(picture), size))
    return F.normalize(F.to_dtype(pixels, torch.float32, scale=True), mean, std)


def fit(pil: Image.Image, size: tuple[int, int], *, nearest: bool = False) -> Image.Image:
    """Resize so that `size` (H, W) is just covered, keep the centre. Pictures and their masks take
    the same way."""
    way = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return pil if pil.size == size[::-1] else ImageOps.fit(pil, size[::-1], way)


def check_size(size: tuple[int, int], name: str = "size") -> tuple[int, int]:
    """(H, W), two integers of at least 1."""
    if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
        raise ValueError(f"{name} must be (H, W), got {size!r}")
    for value in size:
        check_number(name, value, 1, integer=True)
    return int(size[0]), int(size[1])


def are_numbers(values, n: int) -> bool:
    """Whether these are n finite numbers, Python's or numpy's."""
    return (
        isinstance(values, Sequence)
        and len(values) == n
        and (
            {int, float}.issuperset(map(type, values))  # most are, and asking for Real is slow
            or all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
        )
        and all(map(math.isfinite, values))
    )


def check_box(box, name: str) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in whole pixels; fractions are rounded outward.

    Raises ValueError where it is not four finite numbers, left before right and top above bottom.
    """
    values = box.tolist() if isinstance(box, (np.ndarray, Tensor)) else box
    if not are_numbers(values, 4):
        raise ValueError(
            f"{name} must be four finite numbers (left, top, right, bottom), got {box!r}"
        )
    left, top, right, bottom = values
    if not (left < right and top < bottom):
        raise ValueError(
            f"{name} must be (left, top, right, bottom) with left < right and top < bottom, got"
            f" {tuple(values)}; COCO's boxes are (left, top, width, height)"
        )
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def inside(
    box: tuple[int, int, int, int], size: tuple[int, int], name: str
) -> tuple[int, int, int, int]:
    """The part of a box that lies in a picture of `size` (H, W). Raises ValueError for none."""
    (left, top, right, bottom), (height, width) = box, size
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"{name} {box} lies outside the picture of {width} x {height} pixels")
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def check_mask(mask, name: str) -> np.ndarray:
    """A mask (H, W) as bool: of bools, of 0 and 1, or of integers 0 and 255."""
    mask = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"{name} must be (H, W), got {mask.shape}")
    if mask.dtype == bool:
        return mask
    numbers = np.issubdtype(mask.dtype, np.number)
    whole = np.issubdtype(mask.dtype, np.integer)
    if not numbers or not (np.isin(mask, (0, 1)).all() or whole and np.isin(mask, (0, 255)).all()):
        raise ValueError(
            f"{name} must be bool, got {mask.dtype} with other values than 0 and 1: cut it, for"
            " instance mask > 0.5"
        )
    return mask != 0
