"""ROAR+ (M2IB): fine-tune on pairs without the parts that the maps mark, validate on whole
pairs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batching import progress
from ..checks import check_number, check_texts
from ..corruption import blanked, without_pixels
from ..models.weights import own_weights
from ..types import DualEncoder
from .base import metric

RECIPE = dict(
    epochs=3, batch=16, lr=1e-5, weight_decay=0.01, scale=1 / 0.07
)  # AdamW, all weights of both towers


@metric(
    "roar-plus",
    higher_is_better=True,
    level="set",
    needs=("model", "images", "texts", "image_map", "text_map"),
    sides=("image", "text"),
)
def roar_plus(
    model: DualEncoder,
    images: Tensor,
    texts: list[str],
    image_map: Tensor | None = None,
    text_map: Tensor | None = None,
    *,
    repeats: int = 5,
    seed: int = 0,
    epochs=RECIPE["epochs"],
    batch=RECIPE["batch"],
    lr=RECIPE["lr"],
) -> Tensor:
    """100 (l_c - l_o) / l_o for each repeat, (repeats,) (M2IB Sec. 4.2). Higher is better.

    l_o, l_c: validation loss after fine-tuning on whole and on degraded training pairs, from the
    same start, in the same order. Pixels above the 75th percentile of `image_map` become the mean
    colour, tokens above the 50th of `text_map` the padding token; give one of the two. Each repeat
    splits the pairs 80 / 20 anew; validation pairs stay whole. images (B, 3, H, W), texts B
    strings. The paper prints no recipe and the score depends on it: here CLIP's contrastive loss at
    scale 1 / 0.07, AdamW on all weights, `RECIPE`. The model's own weights are untouched.
    """
    if (image_map is None) == (text_map is None):
        raise ValueError("give image_map or text_map, one of the two")
    check_texts(texts)
    if len(texts) != len(images) or len(images) < 10:
        raise ValueError(
            f"images and texts must be at least 10 pairs, got {len(images)} and {len(texts)}"
        )
    check_number("repeats", repeats, 1, integer=True)
    whole = images, model.text.tokenize(texts)[:2]
    if image_map is not None:
        degraded = without_pixels(images, image_map, 75), whole[1]
    else:
        degraded = images, blanked(model.text, texts, text_map, 50)
    scores = []
    for repeat in progress(range(repeats), "ROAR+"):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed + repeat))
        train, held = order[: round(0.8 * len(order))], order[round(0.8 * len(order)) :]
        losses = [
            validation_loss(model, data, whole, train, held, seed + repeat, epochs, batch, lr)
            for data in (whole, degraded)
        ]
        scores.append(100 * (losses[1] - losses[0]) / losses[0])
    return torch.tensor(scores)


def validation_loss(model, data, whole, train, held, seed, epochs, batch, lr) -> float:
    generator = torch.Generator().manual_seed(seed)
    with own_weights(model.image) as image_weights, own_weights(model.text) as text_weights:
        parameters = [*image_weights.values(), *text_weights.values()]
        adam = torch.optim.AdamW(parameters, lr=lr, weight_decay=RECIPE["weight_decay"])
        for _ in range(epochs):
            for rows in train[torch.randperm(len(train), generator=generator)].split(batch):
                if len(rows) > 1:
                    gradients = torch.autograd.grad(
                        contrastive(model, data, rows), parameters, allow_unused=True
                    )
                    for p, g in zip(parameters, gradients):
                        p.grad = g
                    adam.step()
        with torch.no_grad():
            return contrastive(model, whole, held).item()


def contrastive(model: DualEncoder, data, rows: Tensor) -> Tensor:
    """CLIP's symmetric loss over the pairs `rows`: cross-entropy of each side against the other."""
    images, (ids, valid) = data
    rows = rows.to(images.device)
    a = F.normalize(model.image(images[rows]), dim=1)
    b = F.normalize(model.text.encode_ids(ids[rows], valid[rows]), dim=1)
    logits, own = RECIPE["scale"] * a @ b.T, torch.arange(len(rows), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
