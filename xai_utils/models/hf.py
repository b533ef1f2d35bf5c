"""Models of Hugging Face transformers by folder or name, and those that you bring."""

from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

from ..types import DualEncoder, ImageEncoder, TextEncoder
from .fetch import check_tag, from_hub, seeded
from .folders import model_folder
from .hf_image import image_encoder, is_dual, sees
from .published import one_line
from .wrapping import frozen


def load_transformers(
    inner: str, pretrained: str | None, device
) -> ImageEncoder | TextEncoder | DualEncoder:
    """A model in the hub's format, with the tokenizer and the image processor that lie beside it.

    inner       a folder, which needs no network, or a name on the hub, whose folder may lie in
                the one that XAI_WEIGHTS names
    pretrained  None: the trained weights, which a name on the hub always means; "random": random
                weights (seed 0) for the configuration that is found there
    Weights are read as float32, from safetensors or as plain tensors; code that comes with a model
    is never run. A model saved for another task (masked words, segmentation) is loaded without its
    head. Raises ValueError for a folder that holds no such model and for weights that are not
    complete, FileNotFoundError where the hub cannot be reached or has no such name.
    """
    from transformers.models.auto import image_processing_auto as images  # takes a second

    what = f"transformers/{inner}"
    check_tag(what, pretrained)
    source = str(model_folder(inner) or inner)
    with found("the weights of a transformers model", source):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        model, missing = read_model(source, config, random=pretrained == "random")
    if missing:
        raise ValueError(
            f"{what} has no weights for {', '.join(sorted(missing)[:5])}: its"
            f" {type(model).__name__} is not complete"
        )
    tokenizer = processor = None
    if is_dual(model) or not sees(model):
        with found("a tokenizer", source):
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            if len(tokenizer) <= len(tokenizer.all_special_ids):  # made up from the model's type
                raise OSError("no file of a tokenizer lies there")
    with found("an image processor", source):
        if sees(model) and images.get_image_processor_config(source):
            processor = transformers.AutoImageProcessor.from_pretrained(
                source, trust_remote_code=False
            )
    return wrap_transformers(model.to(device), tokenizer=tokenizer, processor=processor, name=what)


@contextmanager
def found(what: str, source: str):
    """One message for the many ways in which a folder or the hub does not give what is needed."""
    if not Path(source).is_dir():
        with from_hub(f"transformers/{source} ({what})"):
            yield
        return
    try:
        with quiet():
            yield
    except Exception as error:  # whatever safetensors, torch, tokenizers and transformers say
        raise ValueError(f"{source} does not hold {what}: {one_line(error)}") from error


@contextmanager
def quiet():
    """No progress bar, and no report on weights: here what is missing is an error, what is too much
    is meant."""
    log = transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def read_model(source: str, config, *, random: bool):
    """A model of a configuration with its weights or with random ones, and the names of weights
    that were not there.

    A pooling layer that is not there is left out: libraries that train without one save none.
    """
    kind = kind_of(config)
    if random:
        with seeded():
            make = getattr(kind, "from_config", None) or kind._from_config
            return make(config, dtype=torch.float32), set()
    options = dict(dtype=torch.float32, weights_only=True, output_loading_info=True)
    model, found = kind.from_pretrained(source, config=config, **options)
    missing = set(found["missing_keys"])
    if missing and all(".pooler." in f".{n}" for n in missing):
        options["add_pooling_layer"] = False
        model, found = type(model).from_pretrained(source, config=config, **options)
        missing = set(found["missing_keys"])
    return model, missing


def kind_of(config) -> type:
    """The class that a model was saved as, where it embeds or classifies pictures or embeds texts;
    else the library's base model of that configuration."""
    saved = (config.architectures or [""])[0]
    bare = "For" not in saved or "ForImageClassification" in saved
    kind = getattr(transformers, saved, None) if bare else None
    known = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    return kind if known else transformers.AutoModel


def class_of(config) -> type:
    """The class that `read_model` makes of a configuration."""
    kind = kind_of(config)
    if kind is transformers.AutoModel:
        kind = transformers.MODEL_MAPPING[type(config)]
    return kind[0] if isinstance(kind, tuple) else kind


def wrap_transformers(
    model, *, tokenizer=None, processor=None, name: str | None = None
) -> ImageEncoder | TextEncoder | DualEncoder:
    """A transformers model as an encoder: of a model with an image side an ImageEncoder, of one
    with a text side a TextEncoder, of one with both a DualEncoder.

    tokenizer  for a text side; a processor that has one brings it
    processor  the weights' own image processor, for mean and standard deviation, see
               `hf_image.image_encoder`
    Raises ValueError where a tokenizer is needed and not given, or given and not needed.
    """
    name = name or type(model).__name__
    image, text = sees(model), is_dual(model) or not sees(model)
    tokenizer = tokenizer or (getattr(processor, "tokenizer", None) if text else None)
    if text and tokenizer is None:
        raise ValueError(
            f"wrap needs tokenizer= for the text side of {name}:"
            " transformers.AutoTokenizer.from_pretrained(...)"
        )
    for option, given, meant in [("tokenizer", tokenizer, text), ("processor", processor, image)]:
        if given is not None and not meant:
            side = "image" if image else "text"
            raise ValueError(f"{option}= is of no use for {name}, which has only a {side} side")
    model = frozen(model)
    if not text:
        return image_encoder(model, name=name, processor=processor)
    from .hf_text import text_encoder

    if not image:
        return text_encoder(model, tokenizer, name=name)
    return DualEncoder(
        image_encoder(model, name=f"{name} image", processor=processor),
        text_encoder(model, tokenizer, name=f"{name} text"),
        name,
    )
