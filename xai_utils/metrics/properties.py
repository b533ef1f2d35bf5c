"""What a method or a model promises, tested by running: NIB's Table 1, equal networks, what the
features of a place are worth, and whether MFABA's scores add up."""

import inspect
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..checks import check_counts, check_positive
from ..models import wrap
from ..models.weights import own_weights, randomise
from ..types import DualEncoder, Encoder, ImageEncoder
from .base import SIDES

# The columns of NIB's Table 1, and one of our own.
CRITERIA = (
    "no_extra_example",
    "no_randomness",
    "no_specific_structure",
    "no_info_loss",
    "current_model",
    "no_downstream_task",
)
CLOSED = "runs_on_a_closed_model"


def properties(
    method: Callable,
    model: DualEncoder,
    images: Tensor,
    texts: list[str],
    *,
    other: tuple[Encoder, Tensor, Tensor],
    seed: int = 0,
) -> dict[str, bool]:
    """NIB's Table 1 run instead of asserted: criterion -> whether the method meets it.

        no_extra_example        the first map alone equals the first of a batch, image and text
        no_randomness           two seeds give equal maps, image and text
        no_specific_structure   it runs on both towers of the model and on the other encoder
        no_info_loss            among the embeddings that it scores is that of the untouched image
        current_model           it leaves the weights as they were, and with random ones its text
                                map is another one
        no_downstream_task      it runs on an image encoder without a classifier
        runs_on_a_closed_model  our own: it runs where only the whole forward pass can be called

    method  (encoder, inputs, targets) -> Attribution; where it takes a seed, it gets 0 and 1
    model   a dual encoder, best of transformers; images (B, 3, H, W) and texts are B pairs, at
            least 2, explained towards each other
    other   (encoder, inputs, targets) of another architecture, a CNN for instance
    seed    of the random weights
    Maps count as equal where they differ by less than 0.1 % of the largest score. "It runs" means
    that it raises neither ValueError nor TypeError. The model is left as it was.
    """
    if len(images) < 2 or len(images) != len(texts):
        raise ValueError(f"at least two pairs are needed, got {len(images)} and {len(texts)}")
    both = pairs_of(model, images, texts)
    alone = {side: (encoder, v[:1], h[:1]) for side, (encoder, v, h) in both.items()}
    first, again = ({s: first_map(method, *alone[s], seed=k) for s in SIDES} for k in (0, 1))
    among = {side: first_map(method, *some) for side, some in both.items()}
    image, x, h = alone["image"]
    closed = wrap(lambda v: image(v), image_size=image.image_size)
    found = (
        all(alike(first[side], among[side]) for side in SIDES),
        all(alike(first[side], again[side]) for side in SIDES),
        all(v is not None for v in (first_map(method, *other), *first.values())),
        scores_the_input(method, image, x, h),
        reads_the_weights(method, *alone["text"], seed=seed),
        first_map(method, replace(image, head=None), x, h) is not None,
        first_map(method, closed, x, h) is not None,
    )
    return dict(zip((*CRITERIA, CLOSED), found))


def pairs_of(model: DualEncoder, images: Tensor, texts: list[str]) -> dict[str, tuple]:
    """side -> (encoder, inputs, targets); embedded one by one, so that a pair's target does not
    depend on the rest of the batch."""
    h = torch.cat([model.encode_text([text]) for text in texts])
    e = torch.cat([model.encode_image(one[None]) for one in images])
    return {"image": (model.image, images, h), "text": (model.text, texts, e)}


def scores_the_input(method: Callable, image: ImageEncoder, x: Tensor, h: Tensor) -> bool:
    """Whether the untouched input's embedding is among those that the method lets the encoder
    compute."""
    seen, parts = [], image.parts
    spy = replace(
        image, parts=replace(parts, tail=lambda z: seen.append(parts.tail(z)) or seen[-1])
    )
    first_map(method, spy, x, h)
    with torch.no_grad():
        whole = image(x)
    away = [(v.detach() - whole).norm(dim=1).min() for v in seen]
    return any(bool(d < 1e-3 * whole.norm()) for d in away)


def reads_the_weights(method: Callable, encoder: Encoder, inputs, targets, *, seed: int) -> bool:
    """Whether a method leaves the weights as they were, and with random ones gives another map."""
    before = {name: w.clone() for name, w in encoder.weights.items()}
    trained = first_map(method, encoder, inputs, targets)
    kept = all(torch.equal(before[name], w) for name, w in encoder.weights.items())
    with own_weights(encoder) as weights:
        randomise(weights, list(weights), seed)
        lost = first_map(method, encoder, inputs, targets)
    return kept and not alike(trained, lost)


def first_map(method: Callable, encoder, inputs, targets, *, seed: int = 0) -> Tensor | None:
    """The first map without its padding, None where the method refuses."""
    named = dict(seed=seed) if "seed" in inspect.signature(method).parameters else {}
    try:
        map = method(encoder, inputs, targets, **named).map[0]
    except (ValueError, TypeError):
        return None
    return map[~map.isnan()]


def alike(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two maps are equal within 0.1 % of the first one's largest score."""
    if a is None or b is None:
        return False
    return bool((a - b).abs().max() <= 1e-3 * a.abs().max())


def rewritten(
    encoder: Encoder,
    layer: int,
    out: Callable = lambda z: z,
    back: Callable = lambda z: z,
    *,
    join: bool = False,
) -> Encoder:
    """The same function from input to embedding, written in another way around the input z of block
    `layer`: for tests of implementation invariance (Sundararajan et al. 2017; NIB Appendix F).

    out, back  what stands before and behind the cut: z becomes out(z), and the next block gets
               back(out(z)), which must be z for the function to stay the same. For example
               3 * z and z / 3
    join       True: the two blocks behind the cut are one, which takes a layer of depth - 2 at most
    Blocks become plain functions: methods that look for attention in them refuse the result.
    """
    encoder._check_layer(layer)
    p = encoder.parts
    pieces = [p.stem, *p.blocks, p.tail]
    pieces[layer] = followed(pieces[layer], out)
    pieces[layer + 1] = preceded(pieces[layer + 1], back)
    if join:
        if layer > encoder.depth - 2:
            raise ValueError(f"no two blocks stand behind layer {layer} of {encoder.depth}")
        pieces[layer + 1 : layer + 3] = [chained(*pieces[layer + 1 : layer + 3])]
    stem, *blocks, tail = pieces
    parts = replace(p, stem=stem, blocks=tuple(blocks), tail=tail, last=None)
    return replace(encoder, parts=parts)


def followed(piece: Callable, then: Callable) -> Callable:
    return lambda *given, **named: then(piece(*given, **named))


def preceded(piece: Callable, first: Callable) -> Callable:
    return lambda z, *valid: piece(first(z), *valid)


def chained(one: Callable, two: Callable) -> Callable:
    return lambda z, *valid: two(one(z, *valid), *valid)


@torch.no_grad()
def match_without(
    encoder: Encoder, inputs, targets: Tensor, places: Tensor, *, layer: int
) -> Tensor:
    """The match with the target when the features of some places of a layer are set to 0, (K, B).

    places  (K, B, ...) bool, K choices: which of the layer's tokens (B, T) or cells (B, h, w) go;
            none of them: the untouched match
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    split = encoder.split(layer)
    z = split.prefix(inputs)
    wanted = tuple(z.sum(split.channel_dim).shape)
    if places.dtype != torch.bool or tuple(places.shape[1:]) != wanted:
        raise ValueError(
            f"places must be bool of shape (K, *{wanted}) at layer {layer} of {encoder.name}, got"
            f" {places.dtype} {tuple(places.shape)}"
        )
    targets, kept = targets.to(z), (~places).to(z.device).unsqueeze(split.channel_dim % z.ndim + 1)
    found = [F.cosine_similarity(split.suffix(z * k, like=z), targets) for k in kept]
    return torch.stack(found).float().cpu()


@torch.no_grad()
def removal_map(encoder: Encoder, inputs, targets: Tensor, *, layer: int) -> Tensor:
    """How far the match falls when one place of a layer is set to 0, all others as they are: a map
    (B, H, W), or for texts (B, T), in cosine, signed (NIB Sec. 4.1, point 4, put to the test)."""
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    split = encoder.split(layer)
    z = split.prefix(inputs)
    shape = z.sum(split.channel_dim).shape  # (B, T) or (B, h, w)
    count = shape[1:].numel()
    one = torch.eye(count + 1, count, dtype=torch.bool)  # the last row takes nothing away
    places = one.view(count + 1, 1, *shape[1:]).expand(-1, *shape)
    *less, whole = match_without(encoder, inputs, targets, places, layer=layer)
    falls = torch.stack([whole - v for v in less], 1).view(shape)
    return split.to_map(falls.to(z), like=z).float().cpu()


@torch.enable_grad()
def sign_descent(
    encoder: Encoder, inputs, targets: Tensor, *, steps: int = 10, rate: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Do MFABA's scores add up? Down its walk from the tokens z_0 at layer 0, (B,) each:

        z_{j+1} = z_j - rate sign(g_j),  g_j = dS/dz at z_j
        the sum of all scores, sum_j rate |g_j|, special tokens included
        the fall of the match that they should explain, S(z_0) - S(z_steps)

    Arguments as those of `mfaba`, whose default steps and rate these are.
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    check_counts(steps=steps)
    check_positive(rate=rate)
    split = encoder.split(0)
    with torch.no_grad():
        z = split.prefix(inputs)
    y, total, match = z, torch.zeros(len(z), device=z.device), []
    for j in range(steps + 1):
        y = y.detach().requires_grad_()
        s = F.cosine_similarity(split.suffix(y, like=z), targets.to(z))
        match.append(s.detach())
        if j < steps:
            (g,) = torch.autograd.grad(s.sum(), y)
            total = total + rate * g.abs().flatten(1).sum(1)
            y = y - rate * g.sign()
    return total.cpu(), (match[0] - match[-1]).cpu()
