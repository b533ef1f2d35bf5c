"""Which pictures an image model of transformers takes: their size, mean and standard deviation."""

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

USUAL_SIZE = 224  # where neither configuration nor processor names one
IMAGENET = {  # whose published weights have its colours, whatever the library's defaults are
    *("convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers"),
    *("dinov3_convnext", "dinov3_vit", "resnet"),
}


def size_of(config, processor=None) -> tuple[int, int]:
    """(H, W): what the configuration says, else the processor, else 224."""
    size = getattr(config, "image_size", None)
    if size is None and hasattr(config, "num_patches"):  # SigLIP 2 knows a number of patches only
        size = round(config.num_patches**0.5) * config.patch_size
    if size is None and processor is not None:
        processor = image_side(processor)
        given = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
        size = given.get("shortest_edge") or [given[k] for k in ("height", "width") if k in given]
    return pair(size or USUAL_SIZE)


def pair(size) -> tuple[int, int]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


def normalisation(model: nn.Module, processor=None) -> tuple[tuple, tuple]:
    """Mean and standard deviation of the processor; None: those of the published weights of its
    type, else the library's defaults for it. Raises ValueError where there are none."""
    if processor is None and model.config.model_type in IMAGENET:
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    processor = default_processor(model) if processor is None else image_side(processor)
    if getattr(processor, "do_normalize", True) is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    try:
        return three(processor.image_mean), three(processor.image_std)
    except (AttributeError, TypeError, RuntimeError):
        raise ValueError(
            "processor must be an image processor of transformers with image_mean and image_std,"
            f" got {type(processor).__name__}"
        ) from None


def image_side(processor):
    return getattr(processor, "image_processor", processor)


def three(value) -> tuple[float, float, float]:
    """One number for all three channels, or one for each."""
    return tuple(torch.as_tensor(value, dtype=torch.float64).expand(3).tolist())


def default_processor(model: nn.Module):
    """The image processor that the library has for models of this type, with its defaults."""
    from transformers.models.auto import image_processing_auto as library  # takes a second

    homes = [c.__module__.split(".") for c in type(model).__mro__]
    folders = [home[2] for home in homes if home[:2] == ["transformers", "models"]]
    kinds = [model.config.model_type, *folders]
    known = library.IMAGE_PROCESSOR_MAPPING_NAMES
    names = next((known[kind] for kind in kinds if kind in known), None)
    if names is None:
        raise ValueError(
            f"transformers has no image processor for {type(model).__name__}: pass processor=, for"
            " the mean and standard deviation that the weights were trained with"
        )
    return library.get_image_processor_class_from_name(next(iter(names.values())))()
