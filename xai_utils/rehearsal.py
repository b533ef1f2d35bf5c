"""Calls without computing: a wrong hyper-parameter is found before a long run, not in each case.

Methods and metrics check their arguments before they run the encoder. So they are called once with
an encoder that stops at its first pass; what they refuse until then is the options' fault, unless
they refuse the same without their options.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from .keys import inner, keywords_of, takes
from .scoring import by_level, needs_of
from .types import DualEncoder, Encoder, ImageEncoder

SIDE, PAIRS = 224, 12  # of pictures for an encoder of any size; enough pairs for ROAR+


class Reached(Exception):
    """The encoder was asked: all arguments had been accepted."""


def rehearse(methods, metrics, model, modality: str, target: str) -> None:
    """Raises ValueError or TypeError, naming the method or metric, where options are refused."""
    alone, together = by_level(metrics)
    given, scene = call_of(model, modality, target, 1)
    for label, method in methods.items():
        try_options(f"methods[{label!r}]", method, given)
    for label, metric in alone.items():
        more = {k: scene[k] for k in needs_of(metric)}
        try_options(f"metrics[{label!r}]", metric, given | dict(map=scene["map"]) | more)
    given, scene = call_of(model, modality, target, PAIRS)
    for label, metric in together.items():
        asked = {k: scene[k] for k in needs_of(metric) if k in scene}
        if takes(metric, "encoder"):
            try_options(f"metrics[{label!r}]", metric, given | dict(map=scene["map"]) | asked)
        elif "model" in asked:
            try_options(f"metrics[{label!r}]", metric, asked)


def try_options(what: str, function: Callable, given: dict) -> None:
    options = keywords_of(function)
    if not options or function.args:
        return
    if what.startswith("metrics"):  # a captioner is a model of its own: not to be run here
        options = {k: stop if callable(v) else v for k, v in options.items()}
    fault = refused(inner(function), given | options)
    if fault is not None and repr(fault) != repr(refused(inner(function), given)):
        raise type(fault)(f"{what}: {fault}") from fault


def refused(function: Callable, arguments: dict) -> Exception | None:
    try:
        with torch.random.fork_rng(devices=[]):
            function(**arguments)
    except (TypeError, ValueError) as error:
        return error
    except Exception:
        return None
    return None


def call_of(model, modality: str, target: str, n: int) -> tuple[dict, dict]:
    """Arguments of a method for n cases that nothing is computed of, and what metrics may need."""
    image = without_passes(model.image if isinstance(model, DualEncoder) else model)
    size = image.image_size or (SIDE, SIDE)
    x, texts = torch.linspace(-1, 1, 3 * size[0] * size[1]).reshape(1, 3, *size), ["one two"]
    x, texts = x.repeat(n, 1, 1, 1), texts * n
    text = without_passes(model.text) if isinstance(model, DualEncoder) else None
    encoder, inputs = (image, x) if modality == "image" else (text, texts)
    targets = torch.ones(n, encoder.dim or 4)
    if target in ("predicted", "label"):
        targets = torch.zeros(n, dtype=torch.long)
    rows = torch.arange(size[0])[:, None].expand(n, *size).float()
    words = torch.arange(float(len(text.tokenize(texts[:1])[2][0]))) if text else torch.ones(1)
    map = rows if modality == "image" else words.expand(n, -1)
    masks = rows < size[0] // 2
    scene = dict(map=map, masks=masks, others=~masks, whole=torch.ones(n, encoder.dim or 4))
    scene |= dict(images=x, texts=texts, places=torch.stack([masks, ~masks], 1))
    scene[f"{modality}_map"] = map
    if isinstance(model, DualEncoder):
        scene["model"] = replace(model, image=image, text=text)
    return dict(encoder=encoder, inputs=inputs, targets=targets), scene


def without_passes(encoder: Encoder) -> Encoder:
    """The same encoder, which stops at the first pass."""
    parts = encoder.parts and replace(encoder.parts, stem=stop)
    more = dict(head=encoder.head) if isinstance(encoder, ImageEncoder) else {}
    return replace(encoder, parts=parts, whole=stop, **more)


def stop(*args, **kwargs):
    raise Reached
