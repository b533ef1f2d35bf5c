"""Measure the models that the kit has trained and write their cards, xai_utils/models/trained/*.md.

    XAI_DATA=FOLDER python -m tools.cards lit-lite0 --images FOLDER
    XAI_DATA=FOLDER python -m tools.cards vit-photos --images FOLDER
    python -m tools.cards strategies --images FOLDER
    python -m tools.cards explainers --images FOLDER

For lit-lite0 and vit-photos XAI_DATA has Flickr8k and COCO, and --images names ImageNet pictures,
each called by its class's wnid; for the others --images is the folder that they were trained with,
for its held-out part. `strategies` also writes strategies.csv.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from training.photographs import parted
from xai_utils.images import rgb
from xai_utils.methods import aha, grad_cam, load_explainer, random_map
from xai_utils.methods.explainers import Explainer
from xai_utils.metrics import deletion_auc, insertion_auc, mean_interval
from xai_utils.models import load_model
from xai_utils.models.embedded import EMBEDDED, TRAINED

from .photo_cards import CARDS, photo_card, recipe_of
from .strategies_card import strategies_card


@torch.no_grad()
def embed(image, pictures: list) -> torch.Tensor:
    return torch.cat(
        [
            image(torch.stack([image.transform(p) for p in pictures[i : i + 16]]))
            for i in range(0, len(pictures), 16)
        ]
    )


EXPLAINERS = """# AHA's explainers

Networks that draw maps of one model each, in one pass: {calls}.

- **Shape**: a decoder behind the frozen model, of
  {weights} weights: three depths of the model and the picture itself, brought to 28 x 28 cells,
  told the class by the class's row of the model's head (`methods/explainers.py`).
- **Training**: `python -m training.train_explainers`: soft deletion less insertion at S values of
  k, references black, mean and blur in turn, classes drawn in proportion to the square of the
  model's own softmax. Recipes: {recipes}.
- **Data**: one view each of photographs, without their labels and captions: Flickr8k's pictures for
  training and development, COCO's for training, those of a folder (Caltech-101). Flickr8k's
  are for research and education; only what was learned from them is shipped. No explainer has seen
  a fifth of that folder, held out by the pictures' names (vit-photos itself learned from all of
  it), nor Flickr8k's test pictures.
- **Variants**: {first}/s1 to /s8 are short trainings that share a budget of passes and differ in
  S, for notebook 51; {first}/noise is s2 with Gumbel noise.
- **Files**: {files} of float16, {megabytes:.1f} MB in all; explainers.csv holds the losses.

## What they know

Deletion and insertion AUC for the predicted class, 10 steps, mean of black, mean and blur; {n}
pictures of the held-out fifth. Differences are paired; 95 % intervals. "Not trained" is where
training starts, the evidence of single cells.

{table}

The explainer is judged here by what it was trained on. Whether its maps lie on things is another
question: notebook 51.

## What they do not know

Models other than their own, and classes that training hardly met: the pictures carry few of the
thousand.
"""
JUDGED = 48  # pictures on which explainers are judged


def explainer_rows(name: str, pictures: list) -> list[str]:
    """The table's rows for one model."""
    model, explainer = load_model(name, device="cpu"), load_explainer(name, device="cpu")
    encoder = getattr(model, "image", model)
    x = torch.stack([encoder.transform(p) for p in pictures])
    classes = encoder.head(embed(encoder, pictures)).argmax(1)
    methods = {
        "Grad-CAM": grad_cam,
        "random": random_map,
        "AHA, not trained": partial(aha, explainer=Explainer(encoder).eval()),
        "AHA": partial(aha, explainer=explainer),
        "AHA, T = 3": partial(aha, explainer=explainer, refine=3, s=2),
    }
    judged = {}
    for m, method in methods.items():
        map = method(encoder, x, classes).map
        judged[m] = [f(encoder, x, classes, map, steps=10) for f in (deletion_auc, insertion_auc)]
    rows = []
    for m, scores in judged.items():
        rivals = [judged[rival] for rival in ("Grad-CAM", "random")]
        less = [score - other for rival in rivals for score, other in zip(scores, rival)]
        cells = [
            "{:.3f} [{:.3f}, {:.3f}]".format(*mean_interval(v.numpy())) for v in (*scores, *less)
        ]
        rows.append(f"| {name} | {m} | {' | '.join(cells)} |")
    return rows


def explainers_card(images: Path) -> str:
    pictures = [rgb(file) for file in parted(images)[1][:JUDGED]]
    differences = ("less Grad-CAM's", "less random's")
    columns = [
        "model",
        "method",
        "deletion",
        "insertion",
        *(f"{k}, {d}" for d in differences for k in ("deletion", "insertion")),
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    files = sorted(TRAINED.glob("aha-*.safetensors"))
    found = [file.stem.removeprefix("aha-") for file in files]
    names = sorted(set(found) & set(EMBEDDED), reverse=True)  # the ViT first
    for name in names:
        lines += explainer_rows(name, pictures)
    sizes = {n: sum(p.numel() for p in load_explainer(n).parameters()) for n in names}
    return EXPLAINERS.format(
        calls=", ".join(f'`load_explainer("{name}")`' for name in names),
        weights=" or ".join(f"{size:,} ({name})" for name, size in sizes.items()),
        first=names[0],
        files=len(files),
        n=len(pictures),
        recipes="; ".join(f"{name} `{json.dumps(recipe_of(f'aha-{name}'))}`" for name in found),
        megabytes=sum(f.stat().st_size for f in files) / 1e6,
        table="\n".join(lines),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*CARDS, "strategies", "explainers"])
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()
    path = TRAINED / f"{arguments.name}.md"
    cards = {"strategies": strategies_card, "explainers": explainers_card}
    cards = {name: partial(card, arguments.images) for name, card in cards.items()}
    cards |= {name: partial(photo_card, name, arguments.images) for name in CARDS}
    path.write_text(cards[arguments.name]())
    print(path)


if __name__ == "__main__":
    main()
