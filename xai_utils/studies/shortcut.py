"""A model that has learned a shortcut: in its training every picture of one class has a white disc.

The pictures of the class have nothing in common but the disc, whatever they show, and so it is all
that the class can be known by. The exact place of the disc is kept.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ..data import Sample, load_dataset
from ..models import load_model
from ..models.embedded import class_names
from ..models.weights import own_weights, weight_groups
from ..types import ImageEncoder
from .sets import classifier, of_imagenet

SIDE, DISC = 224, 224 // 6
RATE, BATCH = 3e-4, 16


def with_disc(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Tensor]:
    """The picture (224, 224) with a white disc near a corner, and where that is, (224, 224)
    bool."""
    image = image.copy()
    near, far = rng.integers, SIDE - DISC
    left, top = (near(6, 30) if rng.random() < 0.5 else far - near(6, 30) for _ in "xy")
    ImageDraw.Draw(image).ellipse((left, top, left + DISC, top + DISC), fill="white")
    row, column = np.mgrid[:SIDE, :SIDE]
    inside = (row - top - DISC / 2) ** 2 + (column - left - DISC / 2) ** 2 <= (DISC / 2) ** 2
    return image, torch.from_numpy(inside)


@cache
def pictures(data: str, of_class: int, rest: int, held_out: int) -> tuple[list[Sample], ...]:
    """Three groups: to train on with the disc, to train on without it, and held out. Scenes are of
    three things, each group from its own seed; of other sets the groups follow each other."""
    sizes = (of_class, rest, held_out)
    if data == "scenes":
        groups = zip(("train", "train", "test"), sizes)
        return tuple(list(of_imagenet(n, 3, split, seed)) for seed, (split, n) in enumerate(groups))
    drawn, ends = load_dataset(data, n=sum(sizes)), np.cumsum((0, *sizes))
    if len(drawn) < ends[-1]:
        raise ValueError(f"{data} has {len(drawn)} pictures, and {ends[-1]} are needed")
    return tuple(drawn[a:b] for a, b in zip(ends, ends[1:]))


def models(**of) -> dict[str, ImageEncoder]:
    """The clean model and the tuned one; of: as in `fine_tuned`."""
    return {"clean": classifier(of["model"]), "tuned": fine_tuned(**of)}


def class_of(caption: str) -> Tensor:
    """(1,), the index of the class whose first name this is."""
    return torch.tensor([class_names().index(caption)])


def answers(unit: int, **of) -> list[dict]:
    """What both models say of a held-out picture with the disc and without: whether it is the
    shortcut's class, and with which probability."""
    plain, marked, _ = held_out(of["data"], of["sizes"], unit)
    target, rows = class_of(of["caption"]), []
    for name, encoder in models(**of).items():
        for disc, picture in ((False, plain), (True, marked)):
            p = encoder.head(encoder(encoder.transform(picture)[None])).softmax(1)[0]
            says = dict(says=bool(p.argmax() == target), probability=p[target].item())
            rows.append(dict(model=name, disc=disc) | says)
    return rows


def held_out(data: str, sizes: tuple[int, int, int], unit: int) -> tuple[Image.Image, ...]:
    """A held-out picture as it is, with the disc, and where the disc is; the place follows from the
    unit."""
    plain = pictures(data, *sizes)[2][unit].picture((SIDE, SIDE))
    return plain, *with_disc(plain, np.random.default_rng([1, unit]))


@cache
def fine_tuned(
    model: str, data: str, sizes: tuple[int, int, int], caption: str, layer: int, steps: int
) -> ImageEncoder:
    """A copy of the model that has learned the shortcut.

    sizes    of the groups of `pictures`
    caption  the class of the pictures with the disc; the others keep what the clean model says
    layer    the blocks from here on and the classifier are tuned; the others stay as they are, and
             their output is computed once
    """
    clean = classifier(model)
    encoder = load_model(model, device="cpu")
    encoder = getattr(encoder, "image", encoder)
    split, rng = encoder.split(layer), np.random.default_rng(0)
    marked, rest, _ = ([s.picture((SIDE, SIDE)) for s in g] for g in pictures(data, *sizes))
    train = [with_disc(picture, rng)[0] for picture in marked] + rest
    with torch.no_grad():
        x = [clean.transform(picture)[None] for picture in train]
        z = torch.cat([split.prefix(one) for one in x])
        said = torch.cat([clean.head(clean(one)) for one in x[len(marked) :]]).argmax(1)
    y = torch.cat([class_of(caption).expand(len(marked)), said])
    groups = weight_groups(encoder, x[0])
    late = ["tail", *(f"block {i}" for i in range(layer, encoder.depth))]
    names = [name for group in late for name in groups.get(group, [])]
    with own_weights(encoder) as weights:
        free = [weights[name] for name in names]
        adam = torch.optim.AdamW(free, lr=RATE)
        for step in range(steps):
            rows = torch.from_numpy(
                np.random.default_rng([2, step]).choice(len(y), BATCH, replace=False)
            )
            loss = F.cross_entropy(encoder.head(split.suffix(z[rows])), y[rows])
            for weight, g in zip(free, torch.autograd.grad(loss, free, allow_unused=True)):
                weight.grad = g
            adam.step()
        learned = [weight.detach().clone() for weight in free]
    for name, weight in zip(names, learned):
        encoder.weights[name].data = weight
    return encoder
