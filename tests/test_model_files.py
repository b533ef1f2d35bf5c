"""Models from files: what `lacks` says of each, and folders in the hub's format. No weights are
fetched; the files are made here, a few blocks with random numbers."""

import time

import httpx
import huggingface_hub.constants as hub
import pytest
import torch

import xai_utils as xu
from xai_utils.models import availability, lacks
from xai_utils.models.published import CARRIED, CHECKPOINTS, PAPER_NAMES, weight_file

CLIP = "openai/clip-vit-base-patch32"


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
    from pathlib import Path

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


@pytest.mark.parametrize("name", [f"transformers/{CLIP}", "Salesforce/blip-image-captioning-base"])
def test_a_model_of_the_hub_lacks_its_folder(weights, name):
    repository = name.removeprefix("transformers/")
    said = lacks(name)
    for part in (f"lacks {weights[0] / repository}", "XAI_WEIGHTS", f"{hub.ENDPOINT}/{repository}"):
        assert part in said
    assert "MIT" in said or "BSD-3-Clause" in said
    assert "lacks its folder: there is none at /no/where" in lacks("transformers//no/where")


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
    for name, tag in cases:
        with pytest.raises(ValueError) as told:
            lacks(name, tag)
        with pytest.raises(ValueError) as loaded:
            xu.load_model(name, pretrained=tag)
        assert str(told.value) == str(loaded.value)
