"""What every data set yields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..images import fit


@dataclass(frozen=True)
class Thing:
    """One object in a picture: what it is called and where it is.

    mask  (H, W) bool in the picture's own pixels, exact, or None
    box   (left, top, right, bottom) in pixels, always there
    """

    caption: str
    box: tuple[int, int, int, int]
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Sample:
    """A picture with its words.

    id       stable name
    image    PIL, RGB
    caption  one sentence for the whole picture
    things   the objects that have a caption and a place of their own
    label    ImageNet class index where one fits, else None
    source   id of the picture that it comes from, None: its own; samples of one picture are no
             independent cases
    matched  False where the caption was swapped for one that does not belong to the picture
    """

    id: str
    image: Image.Image
    caption: str
    things: tuple[Thing, ...] = ()
    label: int | None = None
    source: str | None = None
    matched: bool = True

    def picture(self, size: tuple[int, int]) -> Image.Image:
        """The part of the picture that an encoder of `size` (H, W) sees."""
        return fit(self.image, size)

    def masks(self, size: tuple[int, int]) -> torch.Tensor:
        """(things, H, W) bool: where each object is in `picture(size)`; its box where there is no
        exact mask."""
        return torch.stack(
            [
                torch.from_numpy(np.array(fit(self._mask(t), size, nearest=True)) > 0)
                for t in self.things
            ]
        )

    def _mask(self, thing: Thing) -> Image.Image:
        if thing.mask is not None:
            return Image.fromarray(thing.mask.astype(np.uint8) * 255)
        mask = Image.new("L", self.image.size)
        mask.paste(255, thing.box)
        return mask


class Dataset(Sequence):
    """Samples made when asked for: `dataset[i]` is the same sample every time; slices are lists."""

    def __init__(self, name: str, n: int, make: Callable[[int], Sample]):
        self.name, self._n, self._make = name, n, make

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self._make(k) for k in range(*i.indices(self._n))]
        if not -self._n <= i < self._n:
            raise IndexError(f"{self.name} has {self._n} samples, asked for {i}")
        return self._make(i % self._n)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, n={self._n})"
