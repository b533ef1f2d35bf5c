"""BLIP (Li et al. 2022), the captioner of P-IBISA's Table 3."""

import torch
import transformers

from .folders import model_folder
from .hf import check_whole, found, read_model
from .wrapping import as_device, frozen


def load_blip(name: str, *, device=None):
    """BLIP's captioner and its processor, as `metrics.blip_captioner` takes them.

    name    a folder in the hub's format, or OWNER/NAME on the hub, whose folder may lie in the one
            that XAI_WEIGHTS names: "Salesforce/blip-image-captioning-base"
    device  None: the GPU if there is one, else the CPU
    Weights are read as float32. Raises ValueError for a folder that holds no such model and for
    weights that are not complete, FileNotFoundError where the hub cannot be reached or has no such
    name.
    """
    device = as_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    name = str(name).removeprefix("transformers/")
    folder = model_folder(name)
    source = str(folder or name)
    if folder:
        check_whole(folder, weights=True)
    with found("the configuration of a BLIP", source, "config.json"):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    if not isinstance(config, transformers.BlipConfig):
        raise ValueError(f"{source} holds a model of type {config.model_type}, not BLIP")
    model = read_model(transformers.BlipForConditionalGeneration, source, config)
    with found("the processor of a BLIP", source):
        processor = transformers.BlipProcessor.from_pretrained(source, trust_remote_code=False)
    return frozen(model).to(device), processor
