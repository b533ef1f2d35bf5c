"""`wrap` for what you bring: which library it is of, and what it may be told."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from numbers import Integral

from ..checks import check_number
from ..images import check_size, image_transform
from ..types import DualEncoder, ImageEncoder, Parts, TextEncoder
from .clip import wrap_open_clip
from .hf import wrap_transformers
from .layout import bare
from .torchvision_models import is_torchvision, wrap_torchvision
from .vision import is_timm, wrap_timm
from .wrapping import as_device, wrap_callable


def wrap(
    model,
    *,
    tokenizer=None,
    processor=None,
    name: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    transform=None,
    device=None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    parts: Parts | None = None,
    tokens: tuple[int, tuple[int, int]] | None = None,
) -> DualEncoder | ImageEncoder | TextEncoder:
    """Bring your own encoder.

    model       an open_clip model (give `tokenizer`): a DualEncoder; a timm model or a torchvision
                classifier: an ImageEncoder with splits and, if it classifies, a head; a
                transformers model: by its sides an ImageEncoder, a TextEncoder (give `tokenizer`)
                or a DualEncoder (give `tokenizer`); any other nn.Module or function (B, 3, H, W) ->
                (B, D): an ImageEncoder without splits, unless `parts` says how it is built up.
                docs/encoders.md has the table
    processor   of a transformers model with an image side: its image processor, for mean and
                standard deviation; None: those of the published weights of that type of model
    mean, std   what the model's pictures are normalised with, three numbers each; None: the
                library's own, for modules and functions 0 and 1
    transform   PIL -> (3, H, W); None: resize and crop to the model's size, normalise
    Only for other modules and functions:
    image_size  (H, W) or one number; None: any size
    device      where it runs; None: where its weights are
    parts       its pieces (see Parts), so that there are layers to cut at; needs `image_size`
    tokens      (extra tokens in front, (h, w) of the rest), where `parts` makes tokens
    The kit works on a frozen copy that shares the weights' memory, without the hooks registered on
    it; your model stays as it is. A function's modules run in eval mode and come back in the mode
    that they had. Raises TypeError or ValueError for arguments of another kind, for those that this
    kind of model does not take, and for a model that does not return one finite (B, D) tensor.
    """
    check_wrap(name, image_size, transform, parts, tokens)
    if image_size is not None:
        sides = (image_size,) * 2 if isinstance(image_size, Integral) else image_size
        image_size = check_size(sides, "image_size")
    mean = None if mean is None else three_numbers("mean", mean)
    std = None if std is None else three_numbers("std", std, above=True)
    if isinstance(model, (ImageEncoder, TextEncoder, DualEncoder)):
        given = dict(tokenizer=tokenizer, name=name, image_size=image_size, transform=transform)
        given |= dict(processor=processor, device=device, mean=mean, std=std)
        refuse("an encoder, which is wrapped already", **given)
        return model
    model = bare(model)
    wrapper = library_wrapper(model, tokenizer, processor)
    if wrapper is None:
        refuse("a module or function of images", tokenizer=tokenizer, processor=processor)
        return wrap_callable(
            model,
            name=name,
            image_size=image_size,
            transform=transform,
            device=device and as_device(device),
            mean=mean or (0.0, 0.0, 0.0),
            std=std or (1.0, 1.0, 1.0),
            parts=parts,
            tokens=tokens,
        )
    given = dict(image_size=image_size, device=device, parts=parts, tokens=tokens)
    refuse(f"a model of {library_of(model)}, which brings its own", **given)
    return normalised(wrapper(name), transform, mean, std)


def library_of(model) -> str:
    return type(model).__module__.split(".")[0]


def library_wrapper(model, tokenizer, processor):
    """A function of `name` that wraps a model of a library that the kit knows, else None."""
    if library_of(model) == "open_clip" and hasattr(model, "encode_text"):
        refuse("an open_clip model", processor=processor)
        if tokenizer is None:
            raise ValueError(
                "wrap needs tokenizer= for an open_clip model: open_clip.get_tokenizer(NAME)"
            )
        return lambda name: wrap_open_clip(model, tokenizer, name or "open_clip")
    if any(c.__name__ == "PreTrainedModel" for c in type(model).__mro__):
        given = dict(tokenizer=tokenizer, processor=processor)
        return lambda name: wrap_transformers(model, name=name, **given)
    for known, wrap_it in ((is_timm, wrap_timm), (is_torchvision, wrap_torchvision)):
        if known(model):
            refuse("a model of images", tokenizer=tokenizer, processor=processor)
            return lambda name: wrap_it(model, name)
    if not callable(model) or isinstance(model, type):
        raise TypeError(f"model must be a model or a function, got {model!r}")
    return None


def refuse(what: str, **given) -> None:
    """ValueError for an argument that this kind of model has no use for."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} cannot be given for {what}, got {value!r}")


def normalised(encoder, transform, mean, std):
    """The encoder with another way of a picture into it."""
    if transform is None and mean is None and std is None:
        return encoder
    image = getattr(encoder, "image", encoder)
    if not isinstance(image, ImageEncoder):
        raise ValueError(f"transform, mean and std are for images, {encoder.name} takes texts")
    mean, std = mean or image.mean, std or image.std
    transform = transform or image_transform(image.image_size, mean, std)
    image = replace(image, transform=transform, mean=mean, std=std)
    return image if image.name == encoder.name else replace(encoder, image=image)


def three_numbers(name: str, values, *, above: bool = False) -> tuple[float, float, float]:
    """One number for each colour, as Python's own; above: more than 0."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise ValueError(f"{name} must be three numbers, one for each colour, got {values!r}")
    for value in values:
        check_number(name, value, 0 if above else -inf, above=above)
    return tuple(map(float, values))


def check_wrap(name, image_size, transform, parts, tokens) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if transform is not None and not callable(transform):
        raise TypeError(f"transform must be a function, PIL -> (3, H, W), got {transform!r}")
    if parts is None:
        if tokens is not None:
            raise ValueError(f"tokens says what parts makes: give parts too, got {tokens!r}")
    elif not isinstance(parts, Parts):
        raise TypeError(f"parts must be Parts(stem, blocks, tail), got {type(parts).__name__}")
    elif image_size is None:
        raise ValueError("image_size must be given with parts, so that maps can be drawn")
