"""Measure what the encoders by strategy know of held-out photographs, and write their card and
strategies.csv: `python -m tools.cards strategies` calls this."""

import json
from pathlib import Path

import pandas as pd
import torch

from training.photographs import category, parted
from xai_utils.images import rgb
from xai_utils.metrics import knn_hits, mean_interval
from xai_utils.models import load_model
from xai_utils.models.embedded import TRAINED
from xai_utils.models.strategies import NAMES, SHAPES, examples, measured, parts_of

from .photo_cards import embeddings, percent, recipe_of


def hits(files: list[Path], kinds: list[str]) -> dict[str, torch.Tensor]:
    """`knn_hits` of each encoder, and of each shape as "vit-mini-untrained"."""
    encoders = {
        f"{shape}-untrained": load_model(f"{shape}-dino", pretrained="random", device="cpu")
        for shape in SHAPES
    }
    encoders |= {name: load_model(name, device="cpu") for name in NAMES}
    pictures = [rgb(file) for file in files]
    return {name: knn_hits(embeddings(e, pictures), kinds) for name, e in encoders.items()}


def write_measured(found: dict[str, torch.Tensor], file: Path) -> None:
    """The file that `xai_utils.models.strategies.measured` reads, from the hits of `hits`."""
    rows = []
    for name in NAMES:
        accuracy, low, high = mean_interval(found[name])
        untrained = found[f"{parts_of(name)[0]}-untrained"].mean().item()
        rows.append((name, accuracy, untrained, low, high, len(found[name])))
    table = pd.DataFrame(rows, columns=["name", "accuracy", "untrained", "low", "high", "n"])
    table.to_csv(file, index=False, float_format="%.4f", lineterminator="\n")


def table_of(found: dict[str, torch.Tensor]) -> str:
    """A row for each encoder; the last column is what `examples` says of it."""
    lines = [
        "| shape | strategy | right, % | times the untrained | an example of its strategy |",
        "|---|---|---|---|---|",
    ]
    ratios = {row.name: row.accuracy / max(row.untrained, 1e-9) for row in measured()}
    for shape in SHAPES:
        lines.append(f"| {shape} | untrained | {percent(found[f'{shape}-untrained'])} | | |")
        for name in (n for n in NAMES if parts_of(n)[0] == shape):
            said = "yes" if name in examples() else "no"
            cells = shape, parts_of(name)[1], percent(found[name]), f"{ratios[name]:.1f}", said
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def strategies_card(folder: Path) -> str:
    """The card; writes strategies.csv first. `folder` is the --images of the training."""
    files = parted(folder)[1]
    kinds = [category(file, folder) for file in files]
    recipes = [recipe_of(f"{shape}-dino") for shape in SHAPES]
    if len(files) != recipes[0]["held_out"]:
        raise ValueError(
            f"--images must be the folder of the training, which held {recipes[0]['held_out']}"
            f" pictures out; of {folder} it holds out {len(files)}"
        )
    found = hits(files, kinds)
    write_measured(found, TRAINED / "strategies.csv")
    return CARD.format(
        vit=json.dumps(recipes[0]),
        resnet=json.dumps(recipes[1]),
        megabytes=sum((TRAINED / f"{name}.safetensors").stat().st_size for name in NAMES) / 1e6,
        table=table_of(found),
        n=len(files),
        kinds=len(set(kinds)),
        chance=100 * max(map(kinds.count, kinds)) / len(kinds),
        **{k: f"{recipes[0][k]:,}" for k in ("pictures", "with_category", "categories", "views")},
    )


CARD = """# vit-mini and resnet-mini, by training strategy

Eight small image encoders that differ in how they were trained, for P-IBISA's Figures 2, 7, 8 and
10: `load_model("vit-mini-dino")` and so on. `pretrained="random"` is the start that all of a shape
share.

- **Shapes**: vit-mini is a ViT behind the first five stages of efficientnet-lite0, which are frozen
  (they were trained on ImageNet **with labels**): 49 tokens and a class token, width 96, 3 heads,
  12 blocks. resnet-mini is timm's ResNet with one basic block in each of its four stages and
  half the channels, on pictures of 112 pixels; nothing in it was trained before.
- **Training**: `XAI_DATA=FOLDER python -m training.train_strategies --out build/strategies --images
  FOLDER`: the same start, the same {views} views of each photograph, the same number of steps and
  pictures a step. Supervised: cross-entropy over {categories} categories, on the photographs that
  have one. DINO, Barlow Twins, SwAV: lightly's losses, no labels, on all photographs. **The
  supervised way sees fewer photographs, each of them more often.** Muon (Jordan et al. 2024) for
  the matrices inside vit-mini's blocks, AdamW for the rest. Recipes: vit-mini `{vit}`; resnet-mini
  `{resnet}`.
- **Data**: {pictures} photographs: Flickr8k's for training and development (Hodosh, Young and
  Hockenmaier 2013; pictures of Flickr users, for research and education only), COCO's at hand for
  training (Lin et al. 2014), and {with_category} of Caltech-101 (Li et al., CC BY 4.0), which alone
  have categories.
- **Files**: eight of float16, {megabytes:.1f} MB in all; strategies.csv holds the accuracies.

## What they know

k-nearest-neighbour accuracy (k = 5, votes weighted by cosine, leave one out) over {n} pictures of
Caltech-101, a fifth, which no training saw: which of the {kinds} categories is it? 95 % intervals;
always naming the commonest is right in {chance:.1f} %. A trained encoder is **an example of its
strategy** where it is right at least twice as often as the untrained network of its shape
(`xai_utils.models.strategies.examples`).

{table}

An encoder that is no example has hardly learned to tell things apart by its strategy: what a map
shows of it says nothing about the strategy. The categories are those that the supervised way was
taught; the others never saw their names.

Measured by `python -m tools.cards strategies --images FOLDER`.

## What they do not know

Some minutes of training on a few thousand photographs are a thousandth of what the papers' encoders
had, and the stem of vit-mini knows ImageNet's classes whatever came after it. They are for
comparing strategies under one protocol; a number of theirs says little about the strategy at full
size.
"""
