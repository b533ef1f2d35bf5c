"""Encoders by strategy: the same start and views for all, nothing held out is seen, resumable, what
is exported is what is loaded, the shipped ones and what was measured of them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import xai_utils as xu
from tools import strategies_card as card
from training import photographs
from training import train_strategies as ts
from xai_utils.models import embedded, strategies
from xai_utils.models import training as loops

pytestmark = pytest.mark.slow

SIZE = dict(steps=30, batch=2, lr=1e-3, muon=0.03, seed=0)
KINDS = ("disc", "stripes")


def drawn(rng, kind: str) -> Image.Image:
    """A disc or stripes in two random colours, 80 pixels wide and 64 high."""
    down, across = np.mgrid[:64, :80]
    disc = (down - rng.integers(24, 40)) ** 2 + (across - rng.integers(30, 50)) ** 2 < 400
    where = disc if kind == "disc" else (across // rng.integers(5, 12)) % 2 == 1
    return Image.fromarray(rng.integers(0, 256, (2, 3), np.uint8)[where.astype(int)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four pictures of each of KINDS, one of them held out, and one picture without a category."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for kind in KINDS:
        (folder / kind).mkdir()
        names = [folder / kind / f"image_{i:04d}.png" for i in range(99)]
        away = [name for name in names if photographs.held_out(name, folder)]
        seen = [name for name in names if not photographs.held_out(name, folder)]
        for name in (*seen[:3], away[0]):
            drawn(rng, kind).save(name)
    drawn(rng, "disc").save(folder / "alone.png")
    return folder


@pytest.fixture(scope="module")
def places(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "SETS", ())
        return photographs.parted(folder)


@pytest.fixture(scope="module")
def data(places, folder, tmp_path_factory):
    """Of the seven photographs that are not held out: their views by shape, and their labels."""
    shards, pictures = tmp_path_factory.mktemp("views"), places[0]
    found = {shape: ts.views(shards, pictures, 0, 0, shape) for shape in strategies.SHAPES}
    return found | {"label": ts.labels(pictures, folder)}


def test_a_fifth_of_the_pictures_with_a_category_is_held_out_by_their_names(places, folder):
    kept, held_out = places
    assert [place.parent.name for place in held_out] == list(KINDS) and len(kept) == 7
    assert not set(kept) & set(held_out)
    assert ts.labels(kept, folder).tolist() == [-1, 0, 0, 0, 1, 1, 1]
    many = [folder / f"kind {i % 50}" / f"image_{i // 50:04d}.jpg" for i in range(2000)]
    assert 340 < sum(photographs.held_out(place, folder) for place in many) < 460
    elsewhere = [Path("/elsewhere") / place.relative_to(folder) for place in many]
    assert [photographs.held_out(p, folder) for p in many] == [
        photographs.held_out(p, Path("/elsewhere")) for p in elsewhere
    ]
    alone = [folder / f"{i}.jpg" for i in range(50)]
    assert not any(photographs.held_out(place, folder) for place in [*alone, ("a data set", 0)])


def test_views_are_of_one_picture_and_the_same_again(data, places):
    assert data["vit-mini"].shape == (7, ts.VIEWS, 112, 14, 14)
    assert data["resnet-mini"].shape == (7, ts.VIEWS, 3, 112, 112)
    again = ts.Views(places[0], 0)[5]
    small = torch.nn.functional.avg_pool2d(again.float(), 2).round()
    assert torch.equal(small.byte(), data["resnet-mini"][5]) and not torch.equal(small[0], small[1])
    assert not torch.equal(ts.Views(places[0], 1)[5], again)
    encoder = xu.load_model("efficientnet-lite0", device="cpu")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.mean, encoder.std))
    features = encoder.split(5).prefix((again / 255 - mean) / std)
    assert torch.allclose(features, data["vit-mini"][5].float(), atol=0.02, rtol=1e-2)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", strategies.NAMES)
def test_every_way_starts_from_the_same_and_teaches_the_network(data, tmp_path, monkeypatch, name):
    seen = {}
    monkeypatch.setattr(ts, "loop", lambda out, way, terms, weights, **size: seen.update(t=terms))
    x, label = data[strategies.parts_of(name)[0]], data["label"]
    network = ts.train(tmp_path, name, x, label, **SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = strategies.new_mini(strategies.parts_of(name)[0]).state_dict()
    assert all(torch.equal(v, fresh[k]) for k, v in network.state_dict().items())
    rows = torch.arange(4)
    loss = seen["t"](rows, 0)["loss"]
    grads = torch.autograd.grad(loss, list(network.parameters()))
    assert torch.isfinite(loss) and sum(g.abs().sum() for g in grads) > 0
    moved = name.endswith("dino")  # its average has moved on
    assert torch.equal(seen["t"](rows, 0)["loss"], loss) or moved
    other = torch.where(label < 0, label, 1 - label)
    ts.train(tmp_path, name, x, other, **SIZE)
    without_labels = not name.endswith("supervised")
    assert torch.equal(seen["t"](rows, 0)["loss"], loss) == without_labels


def test_the_supervised_way_alone_leaves_out_what_has_no_category(data, tmp_path, monkeypatch):
    used = {}
    monkeypatch.setattr(
        ts,
        "loop",
        lambda out, way, terms, weights, n, **size: used.update(n=n, terms=terms, way=way),
    )
    x, label = data["vit-mini"].clone(), data["label"]
    x[label < 0] = torch.nan
    ts.train(tmp_path, "vit-mini-supervised", x, label, **SIZE)
    assert used["n"] == 6 and used["way"].head.out_features == 2
    assert torch.isfinite(used["terms"](torch.arange(6), 0)["loss"])
    ts.train(tmp_path, "vit-mini-swav", x, label, **SIZE)
    assert used["n"] == 7 and not torch.isfinite(used["terms"](torch.arange(7), 0)["loss"])


def small(shape: str) -> nn.Module:
    """A network of the shape's kind for toys."""
    if shape == "vit-mini":
        return VisionTransformer(
            img_size=14,
            patch_size=7,
            in_chans=112,
            embed_dim=16,
            depth=1,
            num_heads=2,
            num_classes=0,
        )
    return ResNet(BasicBlock, (1, 1, 1, 1), channels=(8, 8, 8, 16), stem_width=8, num_classes=0)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("shape", strategies.SHAPES)
def test_a_training_that_stops_goes_on_as_if_it_had_not(data, tmp_path, monkeypatch, shape):
    monkeypatch.setattr(loops, "EVERY", 10)
    monkeypatch.setattr(ts, "new_mini", small)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        folder.mkdir()
    x = data[shape][..., ::4, ::4].contiguous() if shape == "resnet-mini" else data[shape]
    name, forward, calls = f"{shape}-dino", ts.DINO.forward, []  # the way with the most state
    ts.train(straight, name, x, data["label"], **SIZE)

    def broken(self, *batch):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return forward(self, *batch)

    monkeypatch.setattr(ts.DINO, "forward", broken)
    with pytest.raises(KeyboardInterrupt):
        ts.train(stopped, name, x, data["label"], **SIZE)
    monkeypatch.setattr(ts.DINO, "forward", forward)
    ts.train(stopped, name, x, data["label"], **SIZE)
    log = (stopped / "log.csv").read_text()
    assert log == (straight / "log.csv").read_text() and log.count("\n") == 31


def test_one_command_trains_without_the_held_out_pictures(folder, places, tmp_path, monkeypatch):
    read, opened = [], ts.opened
    monkeypatch.setattr(photographs, "SETS", ())
    monkeypatch.setattr(ts, "opened", lambda place: read.append(place) or opened(place))
    monkeypatch.setattr(ts, "new_mini", small)
    command = ["--out", tmp_path, "--images", folder, "--workers", 0, "--steps", 2, "--batch", 3]
    command = [str(word) for word in command]
    ts.main([*command, "--only", "vit-mini-supervised", "vit-mini-swav"])
    assert read == places[0]
    assert sorted(path.stem for path in tmp_path.glob("*.safetensors")) == [
        "vit-mini-supervised",
        "vit-mini-swav",
    ]


@pytest.mark.parametrize(
    "changed, said",
    [
        (dict(seed=1), "another recipe"),
        (dict(batch=7), "has 6 of 2"),
        (dict(images=None), "need --images"),
    ],
)
def test_a_bad_recipe_is_refused(folder, places, tmp_path, monkeypatch, capsys, changed, said):
    monkeypatch.setattr(photographs, "SETS", ())
    monkeypatch.setattr(ts, "views", lambda *rest: pytest.fail("work has begun"))
    recipe = dict(pictures=7, with_category=6, categories=2, held_out=2, views=ts.VIEWS, seed=0)
    ts.one_recipe(tmp_path, recipe, None)
    options = dict(out=tmp_path, images=folder, batch=3) | changed
    words = [f"--{k}={v}" for k, v in options.items() if v is not None]
    with pytest.raises(SystemExit):
        ts.main(words)
    assert said in capsys.readouterr().err


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


def test_an_example_of_its_strategy_is_right_twice_as_often_as_the_untrained(tmp_path, monkeypatch):
    right = {"vit-mini-untrained": 10, "resnet-mini-untrained": 3}  # of 40
    right |= dict(zip(strategies.NAMES, (40, 20, 19, 0, 6, 5, 3, 30)))
    found = {name: (torch.arange(40) < n).double() for name, n in right.items()}
    monkeypatch.setattr(strategies, "TRAINED", tmp_path)
    card.write_measured(found, tmp_path / "strategies.csv")
    rows = strategies.measured()
    assert tuple(row.name for row in rows) == strategies.NAMES
    assert all(row.n == 40 and row.low <= row.accuracy <= row.high for row in rows)
    assert rows[1][:3] == ("vit-mini-dino", 0.5, 0.25) and rows[4].untrained == 0.075
    examples = [strategies.NAMES[i] for i in (0, 1, 4, 7)]
    assert strategies.examples() == tuple(examples)
    lines = card.table_of(found).splitlines()[2:]
    said = [line.split("|")[2].strip() for line in lines if "| yes |" in line]
    assert len(lines) == 10 and said == [strategies.parts_of(name)[1] for name in examples]
    assert "| resnet-mini | swav | 75.0 [" in lines[-1] and "| 10.0 | yes |" in lines[-1]


def test_what_was_measured_of_the_shipped_encoders_is_at_hand():
    rows = strategies.measured()
    assert tuple(row.name for row in rows) == strategies.NAMES
    assert all(0 <= row.low <= row.accuracy <= row.high <= 1 and row.n > 100 for row in rows)
    assert len({row.untrained for row in rows}) == 2
    assert set(strategies.examples()) <= set(strategies.NAMES)


def test_bad_tags_are_named():
    with pytest.raises(ValueError, match="vit-mini-dino"):
        xu.load_model("vit-mini-dino", pretrained="yes")
