"""ROAR+ (M2IB): fine-tune on pairs without the parts that the maps mark, validate on whole
pairs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batching import progress
from ..checks import check_counts, check_number, check_positive, check_seed, check_texts
from ..corruption import blanked, without_pixels
from ..models.weights import own_weights, weight_groups
from ..types import DualEncoder, Encoder
from .base import metric, shared

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
    blocks: int | None = None,
    spare: tuple[Tensor, list[str]] | None = None,
) -> Tensor:
    """100 (l_c - l_o) / l_o for each repeat, (repeats,) (M2IB Sec. 4.4). Higher is better.

    l_o, l_c: validation loss after fine-tuning on whole and on degraded training pairs, from the
    same start, in the same order. Pixels above the 75th percentile of `image_map` become the mean
    colour, tokens above the 50th of `text_map` the padding token; give one of the two. Each repeat
    splits the pairs 80 / 20 anew; validation pairs stay whole. images (B, 3, H, W), texts B
    strings. The paper prints no recipe and the score depends on it: here CLIP's contrastive loss at
    scale 1 / 0.07, AdamW, `RECIPE`. The model's own weights are untouched.

    blocks  how many of each tower's last blocks are trained, with what lies behind them: the
            features in front of these are computed once. None: all weights
    spare   further whole pairs (images, texts), which need no maps and only validate
    Raises ValueError for fewer than 10 pairs, spare ones included. Within `score` the maps of
    several methods share l_o.
    """
    if (image_map is None) == (text_map is None):
        raise ValueError("give image_map or text_map, one of the two")
    check_pairs(images, texts, spare)
    check_counts(repeats=repeats)
    check_recipe(seed, epochs, batch, lr)
    recipe = (repeats, seed, epochs, batch, lr)
    part, whole, (ids, valid), before = untouched(model, images, texts, spare, blocks, *recipe)
    if image_map is not None:
        left = image_features(part, without_pixels(images, image_map, 75))
        degraded = torch.cat([left, whole[0][len(images) :]]), whole[1]
    else:
        changed, ids = blanked(model.text, texts, text_map, 50)[0], ids.clone()
        ids[: len(texts), : changed.shape[1]] = changed
        degraded = whole[0], text_features(part, ids, valid)
    after = validation_losses(part, degraded, whole, len(images), *recipe)
    return 100 * (after - before) / before


def check_recipe(seed, epochs, batch, lr) -> None:
    check_seed(seed)
    check_counts(epochs=epochs)
    check_number("batch", batch, 2, integer=True)
    check_positive(lr=lr)


def check_pairs(images: Tensor, texts: list[str], spare) -> None:
    check_texts(texts)
    more = 0 if spare is None else len(spare[0])
    if len(texts) != len(images) or len(images) + more < 10:
        raise ValueError(
            f"images and texts must be at least 10 pairs, got {len(images)} and {len(texts)}"
        )
    if spare is not None and len(spare[1]) != more:
        raise ValueError(f"spare must be as many images as texts, got {more} and {len(spare[1])}")


@dataclass(frozen=True)
class Trained:
    """The part of a dual encoder that is trained.

    model        the whole
    blocks       how many of each tower's last blocks, with what lies behind them; None: everything
    image, text  the towers with only the weights that are trained
    """

    model: DualEncoder
    blocks: int | None
    image: Encoder
    text: Encoder


def trained_part(model: DualEncoder, blocks: int | None) -> Trained:
    if blocks is None:
        return Trained(model, None, model.image, model.text)
    check_counts(blocks=blocks)
    if blocks > (most := min(model.image.depth, model.text.depth)):
        raise ValueError(f"blocks must be at most {most} for {model.name}, got {blocks}")
    blank = torch.zeros(1, 3, *(model.image.image_size or (224, 224)))
    towers = last_blocks(model.image, blank, blocks), last_blocks(model.text, ["a"], blocks)
    return Trained(model, blocks, *towers)


def last_blocks(encoder: Encoder, inputs, blocks: int) -> Encoder:
    """The encoder with only the weights of its last blocks and of what lies behind them."""
    groups = weight_groups(encoder, inputs)
    depths = range(encoder.depth - blocks, encoder.depth)
    chosen = ["tail", *(f"block {i}" for i in depths)]
    names = [name for group in chosen for name in groups.get(group, [])]
    return replace(encoder, weights={name: encoder.weights[name] for name in names})


@shared
def untouched(model, images, texts, spare, blocks, *recipe):
    """(part that is trained; features of the whole pairs, spare ones behind them; their token ids,
    with which are real; l_o of each repeat)."""
    part, (more, words) = trained_part(model, blocks), spare or (images[:0], [])
    ids, valid, _ = model.text.tokenize([*texts, *words])
    pictures = torch.cat([images, more.to(images)])
    whole = image_features(part, pictures), text_features(part, ids, valid)
    before = validation_losses(part, whole, whole, len(images), *recipe)
    return part, whole, (ids, valid), before


@torch.no_grad()
def image_features(part: Trained, images: Tensor) -> Tensor:
    """What the trained blocks of the image tower read; the images themselves for all weights."""
    if part.blocks is None:
        return images
    split = part.image.split(part.image.depth - part.blocks)
    return torch.cat([split.prefix(some) for some in images.split(64)])


@torch.no_grad()
def text_features(part: Trained, ids: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(what the trained blocks of the text tower read, which tokens are real)."""
    if part.blocks is None:
        return ids, valid
    pieces = part.text.parts
    z = pieces.stem(ids)
    for block in pieces.blocks[: len(pieces.blocks) - part.blocks]:
        z = block(z, valid)
    return z, valid


def embedded(part: Trained, z: Tensor, words: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of both sides from their features, (r, D) each."""
    if part.blocks is None:
        return part.image(z), part.text.encode_ids(words, valid)
    pieces = part.text.parts
    for block in pieces.blocks[len(pieces.blocks) - part.blocks :]:
        words = block(words, valid)
    split = part.image.split(part.image.depth - part.blocks)
    return split.suffix(z), pieces.tail(words, valid)


def contrastive(part: Trained, data, rows: Tensor) -> Tensor:
    """CLIP's symmetric loss over the pairs `rows`: cross-entropy of each side against the other."""
    z, (words, valid) = data
    rows = rows.to(z.device)
    sides = embedded(part, z[rows], words[rows], valid[rows])
    a, b = (F.normalize(h, dim=1) for h in sides)
    logits, own = RECIPE["scale"] * a @ b.T, torch.arange(len(rows), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@contextmanager
def training(part: Trained, data, rows: Tensor, seed, epochs, batch, lr) -> Iterator[None]:
    """Within the block the model is fine-tuned on some rows of the features; behind it as
    before."""
    generator = torch.Generator().manual_seed(seed)
    with own_weights(part.image) as image_weights, own_weights(part.text) as text_weights:
        parameters = [*image_weights.values(), *text_weights.values()]
        adam = torch.optim.AdamW(parameters, lr=lr, weight_decay=RECIPE["weight_decay"])
        for _ in range(epochs):
            for some in rows[torch.randperm(len(rows), generator=generator)].split(batch):
                if len(some) > 1:
                    loss = contrastive(part, data, some)
                    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
                    for p, g in zip(parameters, gradients):
                        p.grad = g
                    adam.step()
        yield


def validation_losses(part, data, whole, pairs, repeats, seed, *recipe) -> Tensor:
    """Loss on whole held-out pairs after fine-tuning on `data`, one for each repeat, (repeats,).

    pairs  so many of the features belong to pairs that are split 80 / 20; the spare ones behind
           them are all held out
    """
    losses, spare, cut = [], torch.arange(pairs, len(whole[0])), round(0.8 * pairs)
    for repeat in progress(range(repeats), "ROAR+"):
        order = torch.randperm(pairs, generator=torch.Generator().manual_seed(seed + repeat))
        held = torch.cat([order[cut:], spare])
        with training(part, data, order[:cut], seed + repeat, *recipe), torch.no_grad():
            losses.append(contrastive(part, whole, held).item())
    return torch.tensor(losses)


@contextmanager
def fine_tuned(
    model: DualEncoder,
    images: Tensor,
    texts: list[str],
    *,
    blocks: int | None = None,
    seed: int = 0,
    epochs: int = RECIPE["epochs"],
    batch: int = RECIPE["batch"],
    lr: float = RECIPE["lr"],
) -> Iterator[None]:
    """Within the block the model is fine-tuned on whole pairs by the recipe of `roar_plus`, which
    has the same options; behind it the model is as before.

    images (B, 3, H, W), texts B strings. The same model object, and its towers, are meant: not for
    two threads at once.
    """
    texts = check_texts(texts)
    check_recipe(seed, epochs, batch, lr)
    part, (ids, valid, _) = trained_part(model, blocks), model.text.tokenize(texts)
    data = image_features(part, images), text_features(part, ids, valid)
    with training(part, data, torch.arange(len(texts)), seed, epochs, batch, lr):
        yield
