"""What every data set yields."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch
from PIL import Image

from ..checks import check_flag, check_number
from ..images import check_box, check_size, fit, inside, rgb
from ..outlines import as_mask, check_polygons, filled, mask_box, surrounding

Box = tuple[int, int, int, int]


class SampleError(ValueError):
    """One sample of a data set cannot be read; the message names it. The others can."""


@dataclass(frozen=True)
class Thing:
    """What a phrase names in a picture: its words, and where it is.

    box       (left, top, right, bottom) in pixels of the upright picture, around all of it;
              fractions are rounded outward; None: it follows from what else is given
    mask      (H, W) bool in the same pixels, exact, or None; 0 and 1, or 0 and 255, become bool;
              COCO's run-length code {"size": [H, W], "counts": ...} is decoded
    boxes     where the phrase names several places, the box of each; else `box` alone
    polygons  outlines, each a flat list x, y, x, y, ... of three points or more, as COCO has them;
              the sample fills them, and so makes the mask
    Raises ValueError for an empty caption, for a place that is none, and where none is given.
    """

    caption: str
    box: Box | None = None
    mask: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    polygons: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self):
        check_words("caption of a thing", self.caption)
        of = f"of {self.caption!r}"
        boxes = tuple(check_box(box, f"boxes {of}") for box in listed(self.boxes, f"boxes {of}"))
        polygons = check_polygons(self.polygons, f"polygons {of}")
        mask = self.mask if self.mask is None else as_mask(self.mask, f"mask {of}")
        if self.box is not None:
            box = check_box(self.box, f"box {of}")
        elif boxes or polygons:
            box = surrounding([*boxes, *polygons])
        elif mask is not None:
            box = mask_box(mask, f"mask {of}")
        else:
            raise ValueError(f"box {of} is missing: give box, boxes, polygons or mask")
        put(self, box=box, mask=mask, boxes=boxes or (box,), polygons=polygons)


@dataclass(frozen=True)
class Sample:
    """A picture with its words.

    id          stable name
    image       PIL, RGB and upright; made of anything that `xai_utils.images.rgb` takes, such as a
                path
    caption     one sentence for the whole picture
    things      the objects that have a caption and a place of their own; their boxes are cut at
                the picture's border
    label       ImageNet class index where one fits, else None
    source      id of the picture that it comes from, None: its own; samples of one picture are no
                independent cases
    matched     False where the caption was swapped for one that does not belong to the picture
    captions    all sentences that were written for the picture, where there are several
    judgements  what people said of how well picture and caption belong together, on the data set's
                own scale; their mean is `grade`
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
    captions: tuple[str, ...] = ()
    judgements: tuple[float, ...] = ()

    def __post_init__(self):
        check_words("id of a sample", self.id)
        check_words(f"caption of {self.id!r}", self.caption)
        if self.source is not None:
            check_words(f"source of {self.id!r}", self.source)
        check_flag(f"matched of {self.id!r}", self.matched)
        captions = listed(self.captions, f"captions of {self.id!r}")
        for text in captions:
            check_words(f"captions of {self.id!r}", text)
        judgements = listed(self.judgements, f"judgements of {self.id!r}")
        for value in judgements:
            check_number(f"judgements of {self.id!r}", value, -math.inf)
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
            captions=captions,
            judgements=tuple(float(value) for value in judgements),
        )

    @property
    def grade(self) -> float | None:
        """The mean of the judgements, None without any."""
        return sum(self.judgements) / len(self.judgements) if self.judgements else None

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
        for box in thing.boxes:
            mask.paste(255, box)
        return mask


def listed(values, name: str) -> tuple:
    """A list or tuple as a tuple."""
    if isinstance(values, np.ndarray):
        return tuple(values.tolist())
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list, got {type(values).__name__}")
    return tuple(values)


def check_words(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"{name} is empty")


def things_in(things: Iterable[Thing], image: Image.Image, id: str) -> tuple[Thing, ...]:
    """The things of a picture, their boxes cut at its border, their outlines filled."""
    if isinstance(things, (Thing, str)) or not isinstance(things, Iterable):
        raise TypeError(f"things of {id!r} must be a tuple of Thing, got {type(things).__name__}")
    return tuple(placed(thing, image.size[::-1], id) for thing in things)


def placed(thing: Thing, size: tuple[int, int], id: str) -> Thing:
    """A thing in a picture of `size` (H, W)."""
    if not isinstance(thing, Thing):
        raise TypeError(f"things of {id!r} must hold Thing, got {type(thing).__name__}")
    named = f"of {thing.caption!r} in {id!r}"
    if thing.mask is not None and thing.mask.shape != size:
        raise ValueError(
            f"mask {named} must have the picture's shape {size}, got {thing.mask.shape}"
        )
    box = inside(thing.box, size, f"box {named}")
    boxes = tuple(inside(one, size, f"boxes {named}") for one in thing.boxes)
    mask = thing.mask
    if mask is None and thing.polygons:
        mask = filled(thing.polygons, size)
    same = box == thing.box and boxes == thing.boxes and mask is thing.mask
    return thing if same else replace(thing, box=box, boxes=boxes, mask=mask)


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
            return [self._make(k) for k in range(*i.indices(len(self)))]
        if not isinstance(i, Integral) or isinstance(i, bool):
            raise TypeError(f"an index of {self.name} must be an integer or a slice, got {i!r}")
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples, asked for {i}")
        return self._make(int(i) % len(self))

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, n={len(self)})"


def readable(dataset: Iterable[Sample]) -> Iterator[Sample]:
    """The samples in their order, each made when it is asked for. One of a `Dataset` that cannot be
    read is left out, and a warning says which."""
    if not isinstance(dataset, Dataset):
        yield from dataset
        return
    for i in range(len(dataset)):
        try:
            sample = dataset[i]
        except SampleError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
        else:
            yield sample
