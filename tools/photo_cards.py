"""Measure lit-lite0 and vit-photos on photographs, and write their cards: `python -m tools.cards`
calls this."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open

import xai_utils as xu
from xai_utils.data import load_dataset, showing
from xai_utils.data.imagenet import classes
from xai_utils.data.samples import readable
from xai_utils.images import rgb
from xai_utils.methods import m2ib, nib, p_ibisa, random_map
from xai_utils.metrics import caption_ranks, iou, mask_contrast, mean_interval
from xai_utils.models import load_model
from xai_utils.models.embedded import TRAINED, class_names
from xai_utils.stats import estimate, jackknife, kendall_c

SHOWN = 40  # COCO's pictures of which maps are drawn
METHODS = {"nib": nib, "p-ibisa": p_ibisa, "m2ib": m2ib, "random": random_map}


@torch.no_grad()
def embeddings(image, pictures) -> torch.Tensor:
    return torch.cat([image(image.transform(picture)[None]) for picture in pictures])


def percent(values: torch.Tensor) -> str:
    mean, low, high = mean_interval(100 * values.double())
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def retrieval(models: list) -> str:
    """Flickr8k's test pictures and all their captions, each way."""
    samples = list(readable(load_dataset("flickr8k/test", n=None)))
    texts = [text for sample in samples for text in sample.captions]
    of = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    own = [np.flatnonzero(of == i).tolist() for i in range(len(samples))]
    lines = [
        f"Flickr8k's test pictures at hand, {len(samples)}, and their {len(texts)} captions:"
        " R@k in % of pictures that look for one of their captions, and of captions that look for"
        " their picture.",
        "",
        "| model | to text: R@1 | R@5 | R@10 | to picture: R@1 | R@5 | R@10 |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in models:
        h, t = embeddings(model.image, [s.image for s in samples]), model.encode_text(texts)
        found = caption_ranks(h, t, own), caption_ranks(t, h, [[int(i)] for i in of])
        cells = [percent(ranks <= k) for ranks in found for k in (1, 5, 10)]
        lines.append(f"| {model.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def naming(models: list, folder: Path) -> str:
    """ImageNet's pictures in `folder`, each called by its class's wnid: what the prompts name, and
    what a classifier on the same embedding does."""
    files = sorted(folder.glob("n????????*.jpg"))
    label = torch.tensor([classes()[file.stem[:9]][0] for file in files])
    pictures = [rgb(file) for file in files]
    teacher = load_model("efficientnet-lite0", device="cpu")
    wanted = teacher.head(embeddings(teacher, pictures)).topk(5).indices
    prompts = [f"a photo of a {name}" for name in class_names()]
    lines = [
        f"{len(files)} ImageNet pictures of {len(set(label.tolist()))} classes, which nothing was"
        " trained on: the prompt or class named first among 1,000, in % of pictures."
        f" efficientnet-lite0 itself is right on {percent(wanted[:, 0] == label)}.",
        "",
        "| model | by | right | as efficientnet-lite0 | among its five |",
        "|---|---|---|---|---|",
    ]
    for model in models:
        h, t = embeddings(model.image, pictures), model.encode_text(prompts)
        named = {"prompts": (h @ t.T).argmax(1)}
        if model.image.head is not None:
            named["its classifier"] = model.image.head(h).argmax(1)
        for how, first in named.items():
            hits = first == label, first == wanted[:, 0], (wanted == first[:, None]).any(1)
            lines.append(f"| {model.name} | {how} | {' | '.join(map(percent, hits))} |")
    return "\n".join(lines)


def judged(models: list) -> str:
    """Kendall's tau-c of the cosine with people's judgements of Flickr8k's pairs."""
    pairs = list(readable(load_dataset("flickr8k/expert", n=None)))
    pictures = {s.source: s.image for s in pairs}
    place = {name: i for i, name in enumerate(pictures)}
    grades = np.array([s.grade for s in pairs])
    rows = [place[s.source] for s in pairs]
    lines = []
    for model in models:
        h = torch.nn.functional.normalize(embeddings(model.image, pictures.values()), dim=1)
        cosines = (h[rows] * model.encode_text([s.caption for s in pairs])).sum(1).numpy()
        found = jackknife(kendall_c, cosines, grades, clusters=[s.source for s in pairs])
        lines.append(f"{model.name} {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]")
    return (
        f"Kendall's tau-c of the cosine with the mean of three people's judgements,"
        f" {len(pairs)} pairs of {len(pictures)} pictures of Flickr8k: {', '.join(lines)}."
    )


def located(model) -> str:
    """Maps of the two largest things of COCO's pictures: against their masks, and whether a map is
    higher on the thing that the text names than on the other."""
    samples = showing(load_dataset("coco/val", n=None), SHOWN, things=2, size=(224, 224))
    cases = xu.cases(model, samples, target="things")
    table = xu.score(xu.explain(METHODS, cases), cases, [iou, mask_contrast])
    lines = [
        f"The two largest things of {len(samples)} COCO pictures (val2017), {len(cases)} maps of"
        " each method at its defaults: IoU at the thing's own area, and how often the map is"
        " higher on the thing that the text names than on the other, in %.",
        "",
        "| method | IoU | the right thing, % |",
        "|---|---|---|",
    ]
    for method in METHODS:
        of = table[table.method == method]
        place, contrast = (of[of.metric == m] for m in ("iou", "mask-contrast"))
        cells = []
        for rows, values in ((place, place.value), (contrast, 100.0 * (contrast.value > 0))):
            found = estimate(pd.Series(values).to_numpy(), clusters=rows.cluster)
            cells.append(f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


@torch.no_grad()
def held(model) -> str:
    """What of the embedding is left without the class token behind block 9, and without the
    others."""
    samples = load_dataset("coco/val", n=SHOWN)
    split = model.image.split(9)
    z = split.prefix(torch.stack([model.image.transform(s.image) for s in samples]))
    whole, kept = split.suffix(z), []
    for part in (slice(0, 1), slice(1, None)):
        without = z.clone()
        without[:, part] = z[:, part].mean((0, 1))
        left = torch.nn.functional.cosine_similarity(split.suffix(without), whole)
        kept.append("{:.2f} [{:.2f}, {:.2f}]".format(*mean_interval(left.double())))
    return (
        f"behind block 9 of {len(samples)} COCO pictures, with the mean in the class token's place,"
        f" the embedding keeps a cosine of {kept[0]} to what it was, with the mean in the place of"
        f" all others {kept[1]}."
    )


def recipe_of(name: str) -> dict:
    with safe_open(TRAINED / f"{name}.safetensors", "pt") as weights:
        return json.loads(weights.metadata()["recipe"])


def photo_card(name: str, images: Path) -> str:
    """The card of one of the two models; XAI_DATA has Flickr8k and COCO, `images` is a folder of
    ImageNet pictures."""
    both = [load_model(n, device="cpu") for n in ("lit-lite0", "conse-lite0")]
    model = load_model(name, device="cpu")
    models = both if name == "lit-lite0" else [model, *both]
    return CARDS[name].format(
        recipe=json.dumps(recipe_of(name)),
        megabytes=(TRAINED / f"{name}.safetensors").stat().st_size / 1e6,
        retrieval=retrieval(models),
        naming=naming(models, images),
        judged=judged(models),
        located=located(model),
        held=held(model) if name == "vit-photos" else "",
    )


LIT = """# lit-lite0

conse-lite0 after it has read captions: `load_model("lit-lite0")`, a dual encoder of photographs and
sentences.

- **Shape**: two linear maps (LiT, Zhai et al. 2022, keeps its image tower as it is; here both
  towers stay). Image: normalize(k conse(h) + W (h - mean) / std + b), h the 1,280 pooled numbers
  of efficientnet-lite0. Text: normalize(A (t - c) + a), t MiniLM's unit vector, c the mean of the
  1,000 class prompts. With W = b = a = 0, k = 1 and A the identity it is conse-lite0, where
  training begins. 640,000 weights; all layers before them are those of efficientnet-lite0 and
  MiniLM.
- **Training**: `XAI_DATA=FOLDER python -m training.train_lit --out build/lit-lite0 --images
  FOLDER`. Symmetric InfoNCE on pictures and captions; and, so that it goes on to know ImageNet's
  classes, KL from efficientnet-lite0's softmax to the softmax over the class prompts, on
  photographs without captions, half of whose embeddings are pushed towards one of the classes.
  The weights of the two terms were chosen on Flickr8k's pictures for development and on
  categories of Caltech-101 that the trials left out. Recipe of the file: `{recipe}`.
- **Data**: 6,000 training pictures of Flickr8k with five captions each (Hodosh, Young and
  Hockenmaier 2013; pictures of Flickr users, for research and education only); without captions its
  1,000 pictures for development, 80 training pictures of COCO 2017 (Lin et al. 2014) and 2,376 of
  Caltech-101 (Li et al., CC BY 4.0). The file holds linear maps alone, no picture.
- **File**: lit-lite0.safetensors, float16, {megabytes:.1f} MB.

## What it knows

{retrieval}

{naming}

{judged}

{located}

95 % intervals; those of pairs and of maps take pictures as clusters. Measured by
`XAI_DATA=FOLDER python -m tools.cards lit-lite0 --images FOLDER`.

## What it does not know

Its captions are of people and dogs outdoors, as Flickr8k's are; of what those pictures do not show
it knows what ImageNet's classes say. The towers were not trained together: nothing before
the last layer knows of texts.
"""

VIT_PHOTOS = """# vit-photos

A small vision transformer that has learned from photographs, where no hub can be reached for
CLIP's: `load_model("vit-photos")` is a dual encoder into lit-lite0's space; `.image.head` makes it
an ImageNet classifier.

- **Shape**: a hybrid (Dosovitskiy et al. 2021). The first six stages of efficientnet-lite0, frozen,
  give 192 channels on 7 x 7 cells, each of which is a token; with a class token 50 of width 192, 3
  heads, 12 blocks; the class token goes through one linear layer to 384 dimensions (the embedding),
  and from there through one to 1,000 logits. Texts as lit-lite0's.
- **Training**: `XAI_DATA=FOLDER python -m training.train_vit_photos --out build/vit-photos --images
  FOLDER`. No labels and no captions: distilled from what follows those stages in efficientnet-lite0
  (logits, pooled embedding, last features cell by cell) and from lit-lite0's embedding. Features
  are mirrored, and half of the pictures have a rectangle of another one; the teacher answers for
  what the student sees (Beyer et al. 2022). Muon (Jordan et al. 2024) for the matrices inside the
  blocks, AdamW for the rest; LayerScale (Touvron et al. 2021), folded into the weights afterwards.
  Recipe of the file: `{recipe}`.
- **Made for maps**: at every other step the rectangle is put in behind block 10, where the class
  token is another picture's too. So the tokens have to go on speaking of their own places, and
  the class token has to collect what it says in the last two blocks: {held}
  The tokens' mean over pictures and places is trained to lie near 0 and their variance behind
  block 9 is set to 1, because NIB puts 0 in their place and M2IB noise of variance 1. These
  choices were made on COCO's training pictures.
- **Data**: eight views each of 7,000 Flickr8k pictures (train and dev; pictures of Flickr users,
  for research and education only), 80 of COCO 2017 (train), 2,376 of Caltech-101 (CC BY 4.0) and
  3,000 scenes of the kit (split train).
- **File**: vit-photos.safetensors, float16, {megabytes:.1f} MB.

## What it knows

{retrieval}

{naming}

{judged}

{located}

95 % intervals; those of pairs and of maps take pictures as clusters. Measured by
`XAI_DATA=FOLDER python -m tools.cards vit-photos --images FOLDER`.

## What it does not know

What it says it has from its teachers, and only as far as the pictures above carry: it saw few of
ImageNet's kinds. Its first six stages are a convolutional network's, so that a token has seen its
neighbours before the first attention.
"""

CARDS = {"lit-lite0": LIT, "vit-photos": VIT_PHOTOS}
