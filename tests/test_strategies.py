"""Encoders by strategy: the same start and views for all, resumable, what is exported is what is
loaded, the shipped ones."""

import subprocess

import pytest
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

import xai_utils as xu
from training import train_strategies as ts
from xai_utils.models import embedded, strategies

SIZE = dict(steps=110, batch=4, lr=1e-3, seed=0)


@pytest.fixture(scope="module")
def data(stamps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("strategies")
    return ts.views(folder, 8, [], 0, 0, ("vit-mini", "resnet-mini", "label"))


def test_views_are_of_one_picture_and_the_same_again(data, tmp_path):
    assert data["vit-mini"].shape == (8, ts.VIEWS, 112, 14, 14) and data["resnet-mini"].shape == (
        8,
        ts.VIEWS,
        3,
        112,
        112,
    )
    again, label = ts.Views(8, [], 0, None)[5]
    assert label == data["label"][5]
    small = torch.nn.functional.avg_pool2d(again.float(), 2).round()
    assert torch.equal(small.byte(), data["resnet-mini"][5]) and not torch.equal(small[0], small[1])
    encoder = xu.load_model("efficientnet-lite0", device="cpu")
    normal = (again / 255 - torch.tensor(encoder.mean).view(3, 1, 1)) / torch.tensor(
        encoder.std
    ).view(3, 1, 1)
    assert torch.allclose(
        encoder.split(5).prefix(normal), data["vit-mini"][5].float(), atol=0.02, rtol=1e-2
    )


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", strategies.NAMES)
def test_every_way_starts_from_the_same_and_teaches_the_network(data, tmp_path, monkeypatch, name):
    seen = {}
    monkeypatch.setattr(
        ts,
        "loop",
        lambda out, way, terms, weights, **size: seen.update(way=way, terms=terms) or way,
    )
    network = ts.train(tmp_path, name, data, 300, **SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = strategies.new_mini(strategies.parts_of(name)[0]).state_dict()
    assert all(torch.equal(v, fresh[k]) for k, v in network.state_dict().items())
    loss = seen["terms"](torch.arange(4), 0)["loss"]
    grads = torch.autograd.grad(loss, list(network.parameters()))
    assert torch.isfinite(loss) and sum(g.abs().sum() for g in grads) > 0
    assert torch.equal(seen["terms"](torch.arange(4), 0)["loss"], loss) or name.endswith(
        "dino"
    )  # its average has moved on
    if not name.endswith("supervised"):  # labels play no part
        changed = data | {"label": data["label"].flip(0)}
        ts.train(tmp_path, name, changed, 300, **SIZE)
        assert torch.equal(seen["terms"](torch.arange(4), 0)["loss"], loss)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_training_that_stops_goes_on_as_if_it_had_not(data, tmp_path, monkeypatch):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        folder.mkdir()
    name, forward, calls = (
        "resnet-mini-dino",
        ts.DINO.forward,
        [],
    )  # the way with the most state, on a network for toys
    data = data | {"resnet-mini": data["resnet-mini"][..., ::4, ::4].contiguous()}
    monkeypatch.setattr(
        ts,
        "new_mini",
        lambda shape: ResNet(
            BasicBlock, (1, 1, 1, 1), channels=(8, 8, 8, 16), stem_width=8, num_classes=0
        ),
    )
    ts.train(straight, name, data, 300, **SIZE)

    def broken(self, *batch):
        calls.append(1)
        if len(calls) == 105:
            raise KeyboardInterrupt
        return forward(self, *batch)

    monkeypatch.setattr(ts.DINO, "forward", broken)
    with pytest.raises(KeyboardInterrupt):
        ts.train(stopped, name, data, 300, **SIZE)
    monkeypatch.setattr(ts.DINO, "forward", forward)
    ts.train(stopped, name, data, 300, **SIZE)
    log = (stopped / "log.csv").read_text()
    assert log == (straight / "log.csv").read_text() and log.count("\n") == 111


@torch.no_grad()
@pytest.mark.parametrize("shape", strategies.SHAPES)
def test_what_is_exported_is_what_is_loaded(tmp_path, monkeypatch, shape):
    network, name = strategies.new_mini(shape), f"{shape}-swav"
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    path = ts.export(tmp_path, name, network, dict(steps=0))
    (tmp_path / "SHA256SUMS").write_text(
        subprocess.check_output(["sha256sum", path.name], cwd=tmp_path, text=True)
    )
    monkeypatch.setattr(embedded, "TRAINED", tmp_path)
    encoder = xu.load_model(name, device="cpu")
    x = torch.randn(2, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    features = (
        xu.load_model("efficientnet-lite0", device="cpu").split(5).prefix(x)
        if shape == "vit-mini"
        else x
    )
    assert torch.allclose(
        encoder(x), network.eval()(features), rtol=0.05, atol=0.02
    )  # float16 weights


@torch.no_grad()
@pytest.mark.parametrize("name", strategies.NAMES)
def test_the_shipped_encoders_load_split_and_differ(name):
    encoder, start = (
        xu.load_model(name, device="cpu"),
        xu.load_model(name, device="cpu", pretrained="random"),
    )
    x = torch.randn(2, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    h = encoder(x)
    assert encoder.dim == (96 if name.startswith("vit") else 256) and encoder.head is None
    assert encoder.depth == (12 if name.startswith("vit") else 4)
    for layer in range(encoder.depth + 1):
        split = encoder.split(layer)
        assert torch.equal(split.suffix(split.prefix(x)), h)
    assert not torch.allclose(start(x), h, atol=0.1)


def test_bad_tags_are_named():
    with pytest.raises(ValueError, match="vit-mini-dino"):
        xu.load_model("vit-mini-dino", pretrained="yes")
