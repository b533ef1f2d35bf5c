"""What every data set yields."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch
from PIL import Image

from ..checks import check_flag, check_number
from ..images import check_box, check_mask, check_size, fit, inside, rgb


@dataclass(frozen=True)
class Thing:
    """One object in a picture: what it is called and where it is.

    box   (left, top, right, bottom) in pixels of the upright picture, always there; fractions are
          rounded outward
    mask  (H, W) bool in the same pixels, exact, or None; 0 and 1, or 0 and 255, become bool
    Raises ValueError for an empty caption, and for a box or mask that is none.
    """

    caption: str
    box: tuple[int, int, int, int]
    mask: np.ndarray | None = None

    def __post_init__(self):
        check_words("caption of a thing", self.caption)
        put(self, box=check_box(self.box, f"box of {self.caption!r}"))
        if self.mask is not None:
            put(self, mask=check_mask(self.mask, f"mask of {self.caption!r}"))


@dataclass(frozen=True)
class Sample:
    """A picture with its words.

    id       stable name
    image    PIL, RGB and upright; made of anything that `xai_utils.images.rgb` takes, such as a
             path
    caption  one sentence for the whole picture
    things   the objects that have a caption and a place of their own; their boxes are cut at the
             picture's border
    label    ImageNet class index where one fits, else None
    source   id of the picture that it comes from, None: its own; samples of one picture are no
             independent cases
    matched  False where the caption was swapped for one that does not belong to the picture
    Raises ValueError or TypeError for what is none of these, for a box that lies wholly outside the
    picture and for a mask of another size. A sample holds its picture in memory; of many, a
    `Dataset` makes each when it is asked for.
    """

    id: str
    image: Image.Image
    caption: str
    things: tuple[Thing, ...] = ()
    label: int | None = None
    source: str | None = None
    matched: bool = True

    def __post_init__(self):
        check_words("id of a sample", self.id)
        check_words(f"caption of {self.id!r}", self.caption)
        if self.source is not None:
            check_words(f"source of {self.id!r}", self.source)
        check_flag(f"matched of {self.id!r}", self.matched)
        label = self.label
        if label is not None:
            check_number(f"label of {self.id!r}", label, 0, integer=True)
        image = rgb(self.image, f"image of {self.id!r}")
        put(
            self,
            image=image,
            things=things_in(self.things, image, self.id),
            label=label if label is None else int(label),
            matched=bool(self.matched),
        )

    def picture(self, size: tuple[int, int]) -> Image.Image:
        """The part of the picture that an encoder of `size` (H, W) sees."""
        return fit(self.image, check_size(size))

    def masks(self, size: tuple[int, int]) -> torch.Tensor:
        """(things, H, W) bool: where each object is in `picture(size)`; its box where there is no
        exact mask."""
        size = check_size(size)
        places = [np.array(fit(self._mask(t), size, nearest=True)) > 0 for t in self.things]
        return torch.from_numpy(np.stack(places)) if places else torch.zeros(0, *size).bool()

    def _mask(self, thing: Thing) -> Image.Image:
        if thing.mask is not None:
            return Image.fromarray(thing.mask.astype(np.uint8) * 255)
        mask = Image.new("L", self.image.size)
        mask.paste(255, thing.box)
        return mask


def check_words(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"{name} is empty")


def things_in(things: Iterable[Thing], image: Image.Image, id: str) -> tuple[Thing, ...]:
    """The things of a picture, their boxes cut at its border."""
    if isinstance(things, (Thing, str)) or not isinstance(things, Iterable):
        raise TypeError(f"things of {id!r} must be a tuple of Thing, got {type(things).__name__}")
    things, size = tuple(things), image.size[::-1]
    for thing in things:
        if not isinstance(thing, Thing):
            raise TypeError(f"things of {id!r} must hold Thing, got {type(thing).__name__}")
        if thing.mask is not None and thing.mask.shape != size:
            raise ValueError(
                f"mask of {thing.caption!r} in {id!r} must have the picture's shape {size}, got"
                f" {thing.mask.shape}"
            )
    boxes = [inside(t.box, size, f"box of {t.caption!r} in {id!r}") for t in things]
    return tuple(t if t.box == box else replace(t, box=box) for t, box in zip(things, boxes))


def put(frozen, **values) -> None:
    """Set fields of a frozen dataclass that is being made."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


class Dataset(Sequence):
    """Samples made when asked for: `dataset[i]` is the same sample every time; slices are lists.

    make  index -> Sample; where workers of a DataLoader are to make them it must be a function that
          can be pickled, one of a module or a functools.partial of it
    """

    def __init__(self, name: str, n: int, make: Callable[[int], Sample]):
        check_words("name", name)
        check_number("n", n, 0, integer=True)
        if not callable(make):
            raise TypeError(f"make must be a function of an index, got {type(make).__name__}")
        self.name, self._n, self._make = name, int(n), make

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self._make(k) for k in range(*i.indices(self._n))]
        if not isinstance(i, Integral) or isinstance(i, bool):
            raise TypeError(f"an index of {self.name} must be an integer or a slice, got {i!r}")
        if not -self._n <= i < self._n:
            raise IndexError(f"{self.name} has {self._n} samples, asked for {i}")
        return self._make(int(i) % self._n)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, n={self._n})"
