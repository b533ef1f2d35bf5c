"""Small encoders that differ only in how they were trained: P-IBISA's Figures 2, 7 and 8 compare
such ones.

vit-mini     a ViT behind the first five stages of efficientnet-lite0: 49 tokens, 12 blocks of 96
resnet-mini  timm's ResNet with one basic block a stage and half the channels, on pictures of 112
             pixels
Each as "vit-mini-dino" and so on, trained by training/train_strategies.py from the same start on
the same views (trained/strategies.md). Image encoders without a head. What they know of held-out
photographs stands in trained/strategies.csv.
"""

import csv
from dataclasses import replace
from typing import NamedTuple

import torch
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..types import ImageEncoder
from .embedded import TRAINED, fold_norms, lite0, trained, with_stem
from .vision import wrap_timm

SHAPES = ("vit-mini", "resnet-mini")
STRATEGIES = ("supervised", "dino", "barlow-twins", "swav")
NAMES = tuple(f"{shape}-{strategy}" for shape in SHAPES for strategy in STRATEGIES)
TIMES = 2  # as often right as the untrained network: an example of its strategy


def parts_of(name: str) -> tuple[str, str]:
    """("vit-mini", "dino") of "vit-mini-dino"."""
    shape = next(s for s in SHAPES if name.startswith(s))
    return shape, name[len(shape) + 1 :]


class Measured(NamedTuple):
    """k-nearest-neighbour accuracies on held-out photographs, from 0 to 1: of the trained encoder
    with the ends of its 95 % interval, and of the untrained network; n photographs."""

    name: str
    accuracy: float
    untrained: float
    low: float
    high: float
    n: int

    @property
    def example(self) -> bool:
        """Whether it may stand for its strategy: right at least TIMES as often as the untrained
        network of its shape."""
        return self.accuracy >= TIMES * self.untrained


def measured() -> tuple[Measured, ...]:
    """What `python -m tools.cards strategies` measured, a row for each of NAMES."""
    with (TRAINED / "strategies.csv").open(newline="") as file:
        return tuple(
            Measured(row["name"], *(float(row[k]) for k in Measured._fields[1:-1]), int(row["n"]))
            for row in csv.DictReader(file)
        )


def examples() -> tuple[str, ...]:
    """The names of those encoders that may stand for their strategy."""
    return tuple(row.name for row in measured() if row.example)


def new_mini(shape: str) -> nn.Module:
    """Untrained. "vit-mini": (B, 112, 14, 14) features -> (B, 96); "resnet-mini": (B, 3, 112, 112)
    -> (B, 256)."""
    if shape == "vit-mini":
        return VisionTransformer(
            img_size=14,
            patch_size=2,
            in_chans=112,
            embed_dim=96,
            depth=12,
            num_heads=3,
            num_classes=0,
        )
    return ResNet(
        BasicBlock, (1, 1, 1, 1), channels=(32, 64, 128, 256), stem_width=32, num_classes=0
    )


def strategy_encoder(name: str, device, *, untrained: bool = False) -> ImageEncoder:
    """An encoder by its name in NAMES; untrained: as it was before the first step, the same for all
    of its shape."""
    shape, _ = parts_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = new_mini(shape).eval()
    if shape == "resnet-mini":
        fold_norms(model)
    if not untrained:
        model.load_state_dict(trained(name))
    base = lite0()
    if shape == "vit-mini":
        model = with_stem(model, base, stages=5)
    model.pretrained_cfg = base.pretrained_cfg | dict(
        architecture=shape, num_classes=0
    )  # how pictures are normalised
    if shape == "resnet-mini":
        model.pretrained_cfg["input_size"] = (3, 112, 112)
    # both are convolutions, or begin with them
    return replace(wrap_timm(model.to(device), name), channels_last=True)
