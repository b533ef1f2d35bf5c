"""Models of Hugging Face transformers by folder or name, and those that you bring."""

import re
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

from ..types import DualEncoder, ImageEncoder, TextEncoder
from .fetch import check_tag, from_hub, seeded
from .folders import missing_file, model_folder, weights_in
from .hf_image import image_encoder, is_dual, sees
from .published import few, one_line, weights_folder
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
    head. Raises ValueError for a folder that is not whole and for weights that are not those of the
    configuration, FileNotFoundError where the hub cannot be reached or has no such name.
    """
    from transformers.models.auto import image_processing_auto as images  # takes a second

    what = f"transformers/{inner}"
    check_tag(what, pretrained)
    folder, random = model_folder(inner), pretrained == "random"
    source = str(folder or inner)
    if folder:
        check_whole(folder, weights=not random)
    with found("a configuration", source, "config.json"):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    model = random_model(source, config) if random else read_model(kind_of(config), source, config)
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
    if sees(model) and processor is None and not random:
        raise ValueError(
            f"{what} has no preprocessor_config.json: how are its pictures normalised?"
        )
    return wrap_transformers(model.to(device), tokenizer=tokenizer, processor=processor, name=what)


def check_whole(folder: Path, *, weights: bool):
    if lost := folder_lacks(folder, weights=weights):
        raise ValueError(f"{folder} does not hold a whole model: it lacks {lost}")


def folder_lacks(folder: Path, *, weights: bool) -> str:
    """The first file that a model's folder lacks, "" where it is whole. Random weights (not
    `weights`) have no normalisation of pictures that would be right for them."""
    if lost := missing_file(folder, weights=weights):
        return lost
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
            kind = class_of(config)
    except Exception as error:  # whatever json and transformers say of it
        return f"a config.json of a model that transformers knows: {one_line(error, 200)}"
    text = is_dual(kind) or not sees(kind)
    return missing_file(folder, weights=weights, tokenizer=text, pictures=weights and sees(kind))


@contextmanager
def found(what: str, source: str, file: str = ""):
    """One message for the many ways in which a folder, or a file in it, or the hub does not give
    what is needed."""
    if not Path(source).is_dir():
        with from_hub(f"transformers/{source} ({what})", folder=weights_folder() / source):
            yield
        return
    try:
        with quiet():
            yield
    except Exception as error:  # whatever safetensors, torch, tokenizers and transformers say
        raise ValueError(
            f"{Path(source) / file} does not hold {what}: {one_line(error)}"
        ) from error


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


def random_model(source: str, config):
    with found("a configuration", source, "config.json"), seeded():
        kind = kind_of(config)
        return (getattr(kind, "from_config", None) or kind._from_config)(
            config, dtype=torch.float32
        )


def read_model(kind: type, source: str, config):
    """A model of a configuration with the weights of a folder or a name on the hub. Raises
    ValueError where the weights are not those of the configuration.

    A pooling layer that is not there is left out: libraries that train without one save none.
    """
    file = weights_in(Path(source)) if Path(source).is_dir() else ""
    options = dict(
        config=config,
        dtype=torch.float32,
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are reported, and refused below
    )
    with found("the weights of a transformers model", source, file):
        model, report = kind.from_pretrained(source, **options)
        missing = report["missing_keys"]
        if missing and all(".pooler." in f".{n}" for n in missing):
            options["add_pooling_layer"] = False
            model, report = type(model).from_pretrained(source, **options)
    check_fit(model, report, str(Path(source) / file) if file else f"transformers/{source}")
    return model


def check_fit(model, report: dict, where: str):
    """Raises ValueError where weights are not those of a model, by transformers' report on them.

    What a model has no place for is the head of another task, unless it belongs to a further layer
    of those that the model has.
    """
    numbered = {re.sub(r"\d+", "0", k) for k in model.state_dict() if re.search(r"\d", k)}
    further = {
        k
        for k in report["unexpected_keys"]
        if re.search(r"\d", k) and re.sub(r"\d+", "0", k) in numbered
    }
    faults = {
        "no weights for": report["missing_keys"],
        "of another shape:": {k[0] for k in report["mismatched_keys"]},
        "of layers that it does not have:": further,
    }
    if any(faults.values()):
        said = "; ".join(f"{what} {few(sorted(k))}" for what, k in faults.items() if k)
        raise ValueError(
            f"{where} does not fit the {type(model).__name__} of its config.json: {said}"
        )


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
