"""Models from files: what `lacks` says of each, and folders in the hub's format. No weights are
fetched; the files are made here, a few blocks with random numbers."""

import json
import shutil
import socket
import time
from pathlib import Path

import httpx
import huggingface_hub.constants as hub
import open_clip
import pytest
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from planted import tokenizer as minilm_tokenizer
from safetensors.torch import load_file, save_file

import xai_utils as xu
from xai_utils.metrics import blip_captioner
from xai_utils.models import availability, lacks, load_blip
from xai_utils.models.published import CARRIED, CHECKPOINTS, PAPER_NAMES, weight_file

pytestmark = pytest.mark.slow

CLIP = "openai/clip-vit-base-patch32"
BLIP = "Salesforce/blip-image-captioning-base"


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """XAI_WEIGHTS, empty; no network and no cache behind it. Its list `asked` has the hosts that
    were asked."""
    asked = []

    def refuse(url, timeout):
        asked.append(url)
        raise httpx.ConnectError("no route to host")

    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("XAI_WEIGHTS", str(folder))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(httpx, "head", refuse)
    availability.host_answers.cache_clear()
    yield folder, asked
    availability.host_answers.cache_clear()


def cached(repository, *files):
    """A repository in the hub's cache, as huggingface_hub lays it out."""
    folder = Path(hub.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("a" * 40)
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    for file in files:
        (snapshot / file).write_text("{}")
    return snapshot


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        ("conse-lite0", None),
        ("vit-mini-dino", None),
        ("resnet-mini-swav", "random"),
        *[(name, "random") for name in PAPER_NAMES],
        ("open_clip/ViT-B-32", None),
        ("open_clip/ViT-B-32", "random"),
        ("timm/resnet18", None),
        ("timm/resnet18", "random"),
    ],
)
def test_nothing_is_lacking_of_what_comes_along_or_is_random(weights, name, pretrained):
    assert lacks(name, pretrained) == ""
    assert weights[1] == []  # and nobody is asked


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_a_papers_model_lacks_its_file(weights, name):
    said = lacks(name)
    row = CHECKPOINTS.get(name) or CARRIED[name]
    where = row.url if name in CHECKPOINTS else f"{hub.ENDPOINT}/timm/"
    for part in (f"{name} lacks {weight_file(name)}", "XAI_WEIGHTS", where, row.terms):
        assert part in said
    assert "\n" not in said
    weight_file(name).write_bytes(b"whatever")
    assert lacks(name) == ""


@pytest.mark.parametrize(
    ("name", "pretrained", "repository", "files"),
    [
        ("clip-vit-b-32", None, "timm/vit_base_patch32_clip_224.openai", "open_clip_model"),
        (
            "open_clip/ViT-B-32",
            "openai",
            "timm/vit_base_patch32_clip_224.openai",
            "open_clip_model",
        ),
        ("vgg16", None, "timm/vgg16.tv_in1k", "model"),
        ("timm/resnet18", "yes", "timm/resnet18.a1_in1k", "model"),
    ],
)
def test_a_model_lacks_what_the_hubs_cache_does_not_hold(
    weights, name, pretrained, repository, files
):
    assert f"{hub.ENDPOINT}/{repository}" in lacks(name, pretrained)
    cached(repository, "config.json")
    assert lacks(name, pretrained)
    cached(repository, f"{files}.safetensors")
    assert lacks(name, pretrained) == ""


def test_a_tokenizer_of_the_hub_is_lacking_too(weights):
    assert "lacks tokenizer.json" in lacks("open_clip/ViT-B-16-SigLIP")
    cached("timm/ViT-B-16-SigLIP", "tokenizer.json")
    assert lacks("open_clip/ViT-B-16-SigLIP") == ""


def test_weights_of_a_url_are_looked_for_in_torchs_cache(weights, tmp_path):
    import timm

    name = next(
        n for n in timm.list_pretrained() if not timm.models.get_pretrained_cfg(n).hf_hub_id
    )
    url = timm.models.get_pretrained_cfg(name).url
    assert f"timm/{name} lacks {url}" in lacks(f"timm/{name}", "yes")
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "checkpoints" / url.rpartition("/")[2]).write_bytes(b"whatever")
    assert lacks(f"timm/{name}", "yes") == ""


@pytest.mark.parametrize("name", [f"transformers/{CLIP}", BLIP])
def test_a_model_of_the_hub_lacks_its_folder(weights, name):
    repository = name.removeprefix("transformers/")
    said = lacks(name)
    for part in (f"lacks {weights[0] / repository}", "XAI_WEIGHTS", f"{hub.ENDPOINT}/{repository}"):
        assert part in said
    assert "MIT" in said or "BSD-3-Clause" in said


def test_what_can_be_fetched_is_not_lacking_and_each_host_is_asked_once(weights, monkeypatch):
    _, asked = weights
    for name in (*PAPER_NAMES, f"transformers/{CLIP}", "timm/resnet18"):
        assert lacks(name, "yes" if name.startswith("timm") else None)
    assert sorted(asked) == sorted({*asked})
    assert hub.ENDPOINT in asked
    availability.host_answers.cache_clear()
    monkeypatch.setattr(httpx, "head", lambda url, timeout: httpx.Response(404))
    assert not any(map(lacks, PAPER_NAMES))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    assert lacks("vgg16")
    assert not lacks("swav-resnet50")


def test_a_host_that_hangs_is_given_up(weights, monkeypatch):
    monkeypatch.setattr(availability, "PATIENCE", 0.2)
    monkeypatch.setattr(httpx, "head", lambda url, timeout: time.sleep(2))
    start = time.perf_counter()
    assert lacks("vgg16")
    assert lacks("resnet50")
    assert time.perf_counter() - start < 1


def test_names_and_tags_that_load_model_does_not_know(weights):
    cases = [("swav", None), (3, None), ("", None), ("vgg16", "yes"), ("open_clip/x", None)]
    cases += [("open_clip/ViT-B-32", "yes"), ("timm/resnet18", "no"), ("timm/x", None)]
    cases += [(f"transformers/{CLIP}", "yes"), ("transformers/", None)]
    cases += [("conse-lite0", "random"), ("vit-mini-dino", "yes")]
    for name, tag in cases:
        with pytest.raises(ValueError) as told:
            lacks(name, tag)
        with pytest.raises(ValueError) as loaded:
            xu.load_model(name, pretrained=tag)
        assert str(told.value) == str(loaded.value)


# --- folders in the hub's format


MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SMALL = dict(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2)
# what transformers 4.16 wrote beside what a model is made of
FORMER = dict(torch_dtype=None, transformers_version="4.16.0.dev0", add_cross_attention=False)
FORMER |= dict(_name_or_path="", do_sample=False, max_length=20, top_k=50, tokenizer_class=None)


def write_json(file, content):
    file.write_text(json.dumps(content, indent=2))


def write_weights(folder, model, extra):
    """As the hub has them: with the numbers of positions, which were once saved too."""
    weights = {k: v.clone() for k, v in model.state_dict().items()} | extra
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spread(model):
    """Random numbers that make one input differ from another."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def clip_made(tmp_path_factory):
    """openai/clip-vit-base-patch32 as the hub distributes it, two blocks wide 16: the folder, and
    the model that its weights come from."""
    folder = tmp_path_factory.mktemp("clip")
    text = dict(**SMALL, vocab_size=49408, max_position_embeddings=77, eos_token_id=2)
    vision = dict(**SMALL, image_size=224, patch_size=32)
    model = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = spread(transformers.CLIPModel(model))
    kinds = dict(hidden_act="quick_gelu", dropout=0.0, layer_norm_eps=1e-05, projection_dim=512)
    config = dict(_name_or_path=CLIP, architectures=["CLIPModel"], initializer_factor=1.0)
    config |= dict(logit_scale_init_value=2.6592, model_type="clip", projection_dim=8)
    config |= dict(text_config=text | FORMER | kinds | dict(bos_token_id=0, pad_token_id=1))
    config |= dict(vision_config=vision | FORMER | kinds, transformers_version=None)
    config |= dict(text_config_dict=None, vision_config_dict=None)
    write_json(folder / "config.json", config)
    positions = {f"{n}_model.embeddings.position_ids": k for n, k in [("text", 77), ("vision", 50)]}
    write_weights(folder, model, {n: torch.arange(k)[None] for n, k in positions.items()})
    picture = dict(crop_size=224, do_center_crop=True, do_normalize=True, do_resize=True, size=224)
    picture |= dict(image_mean=MEAN, image_std=STD, resample=3)
    picture |= dict(feature_extractor_type="CLIPFeatureExtractor")
    write_json(folder / "preprocessor_config.json", picture)
    ours = SimpleTokenizer()
    spelt = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {spelt.get(k, k): v for k, v in ours.encoder.items()}
    write_json(folder / "vocab.json", vocabulary)
    merges = [" ".join(pair) for pair in ours.bpe_ranks]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    begin, end = (
        dict(content=c, single_word=False, lstrip=False, rstrip=False, normalized=True)
        for c in spelt.values()
    )
    marks = dict(bos_token=begin, eos_token=end, unk_token=end, pad_token="<|endoftext|>")
    write_json(folder / "special_tokens_map.json", marks)
    kept = dict(add_prefix_space=False, errors="replace", do_lower_case=True, model_max_length=77)
    kept |= dict(tokenizer_class="CLIPTokenizer", name_or_path="./clip_ViT_B_32/")
    typed = {k: v | {"__type": "AddedToken"} for k, v in marks.items() if k != "pad_token"}
    write_json(folder / "tokenizer_config.json", marks | typed | kept)
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    fast.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder, model


@pytest.fixture(scope="module")
def blip_made(tmp_path_factory):
    """Salesforce/blip-image-captioning-base as the hub distributes it, two blocks wide 16."""
    folder = tmp_path_factory.mktemp("blip")
    text = dict(**SMALL, vocab_size=30524, bos_token_id=30522, eos_token_id=2, sep_token_id=102)
    text |= dict(pad_token_id=0, max_position_embeddings=512, is_decoder=True)
    vision = dict(**SMALL, image_size=32, patch_size=16, layer_norm_eps=1e-05)
    model = transformers.BlipConfig(text_config=text, vision_config=vision)
    model = spread(transformers.BlipForConditionalGeneration(model))
    config = dict(_commit_hash=None, architectures=["BlipForConditionalGeneration"])
    config |= dict(image_text_hidden_size=256, logit_scale_init_value=2.6592, model_type="blip")
    config |= dict(text_config=text | FORMER, vision_config=vision | FORMER, torch_dtype="float32")
    config |= dict(projection_dim=512, initializer_factor=1.0, transformers_version=None)
    write_json(folder / "config.json", config)
    extra = {"text_decoder.bert.embeddings.position_ids": torch.arange(512)[None]}
    write_weights(folder, model, extra)
    picture = dict(do_normalize=True, do_rescale=True, do_resize=True, image_mean=MEAN)
    picture |= dict(image_std=STD, image_processor_type="BlipImageProcessor", resample=3)
    picture |= dict(processor_class="BlipProcessor", rescale_factor=1 / 255)
    picture |= dict(size=dict(height=32, width=32), size_divisor=32)
    write_json(folder / "preprocessor_config.json", picture)
    bert = Path(minilm_tokenizer().name_or_path)
    for file in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bert / file, folder / file)
    kept = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]")
    kept |= dict(mask_token="[MASK]", do_lower_case=True, model_max_length=512)
    kept |= dict(processor_class="BlipProcessor", tokenizer_class="BertTokenizer")
    write_json(folder / "tokenizer_config.json", kept)
    return folder, model


@pytest.fixture
def clip(clip_made, weights):
    """The folder of a CLIP where XAI_WEIGHTS has it, and its model."""
    return shutil.copytree(clip_made[0], weights[0] / CLIP), clip_made[1]


@pytest.fixture
def blip(blip_made, weights):
    return shutil.copytree(blip_made[0], weights[0] / BLIP), blip_made[1]


@pytest.fixture
def isolated(monkeypatch):
    """No host's address is looked up and none is called."""
    called = []

    def refuse(*args, **kwargs):
        called.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield called
    assert called == []


def as_bin(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_shards(folder):
    """Two files and their index, as large models are distributed."""
    state = load_file(folder / "model.safetensors")
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {k: names[i % 2] for i, k in enumerate(state)}
    for name in names:
        part = {k: state[k] for k in state if where[k] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    (folder / "model.safetensors").unlink()


def pictures(n=2):
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(0))


TEXTS = ["a photo of a cat", "Two dogs' owners, isn't it?"]


@torch.no_grad()
@pytest.mark.parametrize("form", [lambda folder: None, as_bin, as_shards])
@pytest.mark.parametrize("by", ["name", "path"])
def test_clips_folder_is_the_model_it_was_made_of(clip, isolated, form, by):
    folder, model = clip
    form(folder)
    name = f"transformers/{CLIP if by == 'name' else folder}"
    assert lacks(name) == ""
    dual = xu.load_model(name, device="cpu")
    assert dual.name == name
    x = pictures()
    own = model.get_image_features(pixel_values=x)
    assert torch.equal(dual.encode_image(x), getattr(own, "pooler_output", own))
    ids = open_clip.get_tokenizer("ViT-B-32")(TEXTS)  # the same words as OpenAI's own tokenizer
    used = ids[:, : int((ids != 0).sum(1).max())]
    mask = (used != 0).long()
    own = model.get_text_features(input_ids=used, attention_mask=mask)
    torch.testing.assert_close(dual.encode_text(TEXTS), getattr(own, "pooler_output", own))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    made = xu.wrap(model, tokenizer=tokenizer, processor=processor)
    assert torch.equal(dual.encode_image(x), made.encode_image(x))
    assert torch.equal(dual.encode_text(TEXTS), made.encode_text(TEXTS))
    assert (dual.image.mean, dual.image.std) == (tuple(MEAN), tuple(STD))
    assert (dual.image.tokens, dual.image.image_size) == ((1, (7, 7)), (224, 224))


@torch.no_grad()
def test_clip_needs_one_kind_of_tokenizer_files(clip, isolated):
    folder, _ = clip
    whole = xu.load_model(f"transformers/{CLIP}", device="cpu").encode_text(TEXTS)
    shutil.move(folder / "tokenizer.json", folder / "kept")
    words = xu.load_model(f"transformers/{CLIP}", device="cpu").encode_text(TEXTS)
    assert torch.equal(words, whole)
    shutil.move(folder / "kept", folder / "tokenizer.json")
    for file in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        (folder / file).unlink()
    words = xu.load_model(f"transformers/{CLIP}", device="cpu").encode_text(TEXTS)
    assert torch.equal(words, whole)


@torch.no_grad()
def test_a_repository_in_the_hubs_cache_is_the_same_model(clip, monkeypatch, isolated):
    folder, _ = clip
    x, name = pictures(), f"transformers/{CLIP}"
    h = xu.load_model(name, device="cpu").encode_image(x)
    snapshot = cached(CLIP)
    shutil.copytree(folder, snapshot, dirs_exist_ok=True)
    shutil.rmtree(folder)
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    assert lacks(name) == ""
    assert torch.equal(xu.load_model(name, device="cpu").encode_image(x), h)
    (snapshot / "model.safetensors").unlink()
    assert lacks(name)
    with pytest.raises(FileNotFoundError, match=f"cannot get {name}"):
        xu.load_model(name)


def edited(folder, change, file="config.json"):
    content = json.loads((folder / file).read_text())
    change(content)
    write_json(folder / file, content)


def reweighed(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(file, share=0.5):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])


def without(*files):
    return lambda folder: [(folder / file).unlink() for file in files]


ANY_TOKENIZER = "tokenizer.json, or vocab.json and merges.txt, or vocab.txt"
LAYER = "text_model.encoder.layers.0.mlp.fc1.weight"
# a file that is not there: what is removed -> what is lacking
GONE = [
    (without("config.json"), "config.json"),
    (without("model.safetensors"), "model.safetensors or pytorch_model.bin"),
    (without("preprocessor_config.json"), "preprocessor_config.json"),
    (without("tokenizer.json", "merges.txt"), "merges.txt"),
    (without("tokenizer.json", "vocab.json"), "vocab.json"),
    (without("tokenizer.json", "vocab.json", "merges.txt"), ANY_TOKENIZER),
    (lambda f: [as_shards(f), next(f.glob("*2-of*")).unlink()], "model-00002-of-00002"),
    (
        lambda f: [as_shards(f), cut(f / "model.safetensors.index.json")],
        "a readable model.safetensors.index.json",
    ),
    (lambda f: cut(f / "config.json"), "a config.json of a model that transformers knows"),
    (
        lambda f: edited(f, lambda c: c.update(model_type="clop")),
        "a config.json of a model that transformers knows",
    ),
]


@pytest.mark.parametrize(("change", "file"), GONE)
def test_a_folder_that_is_not_whole_says_which_file_it_lacks(clip, isolated, change, file):
    folder, _ = clip
    change(folder)
    with pytest.raises(ValueError, match=f"^{folder} does not hold a whole model") as caught:
        xu.load_model(f"transformers/{CLIP}")
    assert f"it lacks {file}" in str(caught.value)
    assert "\n" not in str(caught.value)
    said = lacks(f"transformers/{CLIP}")
    assert f"lacks {file}" in said and f" in {folder}" in said and "MIT" in said


UNFIT = {  # a damaged or foreign file: what is done, which file is named, what is said of it
    "cut": (lambda f: cut(f / "model.safetensors"), "model.safetensors", "does not hold"),
    "cut at its end": (lambda f: cut(f / "model.safetensors", 0.999), "model.safetensors", "hold"),
    "empty": (lambda f: cut(f / "model.safetensors", 0), "model.safetensors", "does not hold"),
    "cut bin": (
        lambda f: [as_bin(f), cut(f / "pytorch_model.bin")],
        "pytorch_model.bin",
        "does not hold the weights",
    ),
    "a key is missing": (
        lambda f: reweighed(f, lambda w: w.pop(LAYER)),
        "model.safetensors",
        f"does not fit the CLIPModel of its config.json: no weights for {LAYER}$",
    ),
    "the projection is missing": (
        lambda f: reweighed(f, lambda w: w.pop("visual_projection.weight")),
        "model.safetensors",
        "no weights for visual_projection.weight$",
    ),
    "another shape": (
        lambda f: reweighed(f, lambda w: w.update({LAYER: torch.zeros(3, 3)})),
        "model.safetensors",
        f"of another shape: {LAYER}$",
    ),
    "another shape in bin": (
        lambda f: [reweighed(f, lambda w: w.update({LAYER: torch.zeros(3, 3)})), as_bin(f)],
        "pytorch_model.bin",
        f"of another shape: {LAYER}$",
    ),
    "more layers in the configuration": (
        lambda f: edited(f, lambda c: c["text_config"].update(num_hidden_layers=3)),
        "model.safetensors",
        "no weights for text_model.encoder.layers.2.* and 12 more$",
    ),
    "fewer layers in the configuration": (
        lambda f: edited(f, lambda c: c["vision_config"].update(num_hidden_layers=1)),
        "model.safetensors",
        "of layers that it does not have: vision_model.encoder.layers.1.* and 12 more$",
    ),
    "another width": (
        lambda f: edited(f, lambda c: c["vision_config"].update(hidden_size=32)),
        "model.safetensors",
        "of another shape: vision_model.embeddings.class_embedding",
    ),
    "another patch": (
        lambda f: edited(f, lambda c: c["vision_config"].update(patch_size=16)),
        "model.safetensors",
        "of another shape: vision_model.embeddings.patch_embedding.weight",
    ),
    "another vocabulary": (
        lambda f: edited(f, lambda c: c["text_config"].update(vocab_size=100)),
        "model.safetensors",
        "of another shape: text_model.embeddings.token_embedding.weight$",
    ),
    "another projection": (
        lambda f: edited(f, lambda c: c.update(projection_dim=9)),
        "model.safetensors",
        "of another shape: text_projection.weight, visual_projection.weight$",
    ),
    "another model": (
        lambda f: transformers.ViTConfig(**SMALL, image_size=224).save_pretrained(f),
        "model.safetensors",
        "does not fit the ViTModel of its config.json: no weights for embeddings.cls_token",
    ),
    "weights in a wrapper": (
        lambda f: reweighed(f, lambda w: [w.update({f"net.{k}": w.pop(k)}) for k in list(w)]),
        "model.safetensors",
        "no weights for logit_scale",
    ),
    "cut words": (
        lambda f: [(f / "tokenizer.json").unlink(), cut(f / "vocab.json")],
        "",
        "does not hold a tokenizer",
    ),
    "cut tokenizer": (lambda f: cut(f / "tokenizer.json"), "", "does not hold a tokenizer"),
    "cut settings": (lambda f: cut(f / "tokenizer_config.json"), "", "does not hold a tokenizer"),
    "cut normalisation": (
        lambda f: cut(f / "preprocessor_config.json"),
        "",
        "does not hold an image processor.*preprocessor_config.json",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_files_that_do_not_fit_are_one_clear_error(clip, isolated, capfd, kind):
    folder, _ = clip
    change, file, message = UNFIT[kind]
    change(folder)
    capfd.readouterr()
    with pytest.raises(ValueError, match=message) as caught:
        xu.load_model(f"transformers/{CLIP}")
    assert str(caught.value).startswith(str(folder / file))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


class Code:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


def test_code_in_a_folders_weights_is_not_run(clip, isolated):
    folder, _ = clip
    as_bin(folder)
    torch.save({"hook": Code(str(folder / "ran"))}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin .* it holds .*open, which is not run"):
        xu.load_model(f"transformers/{CLIP}")
    assert not (folder / "ran").exists()


def test_random_weights_need_no_file_of_weights(clip, isolated):
    folder, _ = clip
    without("model.safetensors", "preprocessor_config.json")(folder)
    assert lacks(f"transformers/{CLIP}", "random") == ""
    dual = xu.load_model(f"transformers/{CLIP}", pretrained="random", device="cpu")
    assert dual.image.depth == dual.text.depth == 2


def test_a_path_that_is_not_there_is_not_asked_for_on_the_hub(weights, isolated):
    assert "lacks its folder: there is no folder /no/where" in lacks("transformers//no/where")
    assert "lacks its folder: there is no folder /no/where" in lacks("/no/where")
    with pytest.raises(FileNotFoundError, match="there is no folder /no/where"):
        xu.load_model("transformers//no/where")
    with pytest.raises(FileNotFoundError, match="there is no folder ./no/where/at/all"):
        load_blip("./no/where/at/all")


# --- BLIP


@torch.no_grad()
@pytest.mark.parametrize("form", [lambda folder: None, as_bin])
@pytest.mark.parametrize("by", ["name", "prefixed", "path"])
def test_blips_folder_captions_as_the_model_it_was_made_of(blip, isolated, form, by):
    folder, model = blip
    form(folder)
    name = {"name": BLIP, "prefixed": f"transformers/{BLIP}", "path": str(folder)}[by]
    assert lacks(name) == ""
    loaded, processor = load_blip(name, device="cpu")
    theirs, ours = model.state_dict(), loaded.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(v, ours[k]) for k, v in theirs.items())
    assert not any(p.requires_grad for p in loaded.parameters())
    assert list(processor.image_processor.image_mean) == MEAN
    encoder, x = xu.load_model("efficientnet-lite0", device="cpu"), pictures()
    said = blip_captioner(encoder, loaded, processor, tokens=6)(x)
    assert said == blip_captioner(encoder, model, processor, tokens=6)(x)
    seen = dict(pixel_values=torch.rand(2, 3, 32, 32), input_ids=torch.tensor([[30522, 5]] * 2))
    own = model(**seen).logits
    assert torch.equal(loaded(**seen).logits, own) and not torch.equal(own[0], own[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("config.json"), "it lacks config.json"),
        (without("model.safetensors"), "it lacks model.safetensors or pytorch_model.bin"),
        (without("preprocessor_config.json"), "it lacks preprocessor_config.json"),
        (without("tokenizer.json", "vocab.txt"), f"it lacks {ANY_TOKENIZER}"),
        (lambda f: cut(f / "model.safetensors"), "model.safetensors does not hold the weights"),
        (
            lambda f: reweighed(
                f, lambda w: w.pop("text_decoder.bert.encoder.layer.0.attention.self.key.weight")
            ),
            "model.safetensors does not fit the BlipForConditionalGeneration of its config.json:"
            " no weights for text_decoder.bert.encoder.layer.0.attention.self.key.weight$",
        ),
        (
            lambda f: edited(f, lambda c: c["vision_config"].update(image_size=64)),
            "of another shape: vision_model.embeddings.position_embedding$",
        ),
        (
            lambda f: edited(f, lambda c: c["text_config"].update(num_hidden_layers=1)),
            "of layers that it does not have: text_decoder.bert.encoder.layer.1.* and 22 more$",
        ),
        (
            lambda f: transformers.ViTConfig(**SMALL).save_pretrained(f),
            "holds a model of type vit, not BLIP$",
        ),
        (lambda f: cut(f / "tokenizer.json"), "does not hold the processor of a BLIP"),
        (lambda f: cut(f / "preprocessor_config.json"), "does not hold the processor of a BLIP"),
    ],
)
def test_blips_folder_with_faults_is_one_clear_error(blip, isolated, capfd, change, message):
    folder, _ = blip
    change(folder)
    capfd.readouterr()
    with pytest.raises(ValueError, match=message) as caught:
        load_blip(BLIP)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_blip_that_is_nowhere(weights):
    with pytest.raises(
        FileNotFoundError, match=f"cannot get transformers/{BLIP} .*HF_HOME.* at .*/{BLIP} .XAI_WEI"
    ):
        load_blip(BLIP)
    with pytest.raises(ValueError, match="FOLDER-OR-NAME"):
        load_blip("")
