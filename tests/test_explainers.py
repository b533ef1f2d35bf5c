"""AHA's explainers and the command that trains them, on small models and pictures drawn here."""

import json

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from planted import SIDE, pieces, red_model, seeded, small_cnn, small_vit, with_red_patch
from safetensors.torch import load_file

import xai_utils as xu
from training import photographs, train_explainers
from training.train_explainers import fresh
from xai_utils.methods import aha, explainers, load_explainer
from xai_utils.methods.aha import taught
from xai_utils.methods.explainers import Explainer, standard
from xai_utils.models import training as loops

SIZE = dict(steps=4, batch=2, lr=1e-2, seed=0)
ENCODERS = {
    "cnn": lambda: pieces(small_cnn()),  # (32, 24) pictures, 8 x 6 cells
    "vit": lambda: xu.wrap(small_vit(), name="small ViT"),  # 4 x 3 tokens
}


def some(n, *size):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, 3, *size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("kind", ENCODERS)
def test_untrained_it_is_the_evidence_of_single_cells(kind):
    encoder, classes = ENCODERS[kind](), torch.tensor([1, 4])
    x = some(2, 32, 24).float() / 255
    explainer = seeded(lambda: Explainer(encoder, grid=8))
    cells = explainer.read(x)[1]  # (2, D, h, w)
    evidence = (cells * encoder.head.weight[classes][:, :, None, None]).sum(1)
    evidence = standard(evidence.flatten(1)).view_as(evidence)
    wanted = F.interpolate(evidence[:, None], size=(8, 8), mode="bilinear")
    with torch.no_grad():
        assert torch.allclose(explainer(x, classes), standard(wanted.flatten(1)), atol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_few_steps_teach_it_something_of_each_class(kind, tmp_path):
    encoder, x = ENCODERS[kind](), some(2, 32, 24)
    explainer = seeded(lambda: Explainer(encoder, grid=8, width=8))
    inputs = x.float() / 255

    def learned(c):
        latents, cells, _ = explainer.read(inputs)
        evidence, direction = torch.zeros(2, 1, *cells.shape[2:]), encoder.head.weight[[c, c]]
        f = explainer.learned(inputs, latents, evidence, F.normalize(direction))
        return (f * explainer.query(F.normalize(direction))[:, :, None, None]).sum(1)

    assert not learned(1).any()
    taught(explainer, x, tmp_path, SIZE, s=2)
    first, second = learned(1), learned(4)
    assert first.shape == (2, 8, 8) and first.std((1, 2)).min() > 1e-4
    assert (first - second).flatten(1).std(1).min() > 1e-4
    a = aha(encoder, inputs, torch.tensor([1, 4]), explainer=explainer, refine=1, s=2)
    assert a.map.shape == (2, 32, 24) and a.map.isfinite().all()


@pytest.mark.slow
def test_it_finds_the_planted_patch(tmp_path):
    red, x = red_model(), with_red_patch(64, 0)[0]
    explainer = seeded(lambda: Explainer(red, grid=8))
    size = dict(steps=150, batch=8, lr=5e-3, seed=0)
    taught(explainer, x, tmp_path, size, s=3)
    x, masks = with_red_patch(12, 1)
    a = aha(red, x.float() / 255, torch.ones(12, dtype=torch.long), explainer=explainer)
    assert a.map.shape == (12, SIDE, SIDE)
    assert min(m[k].mean() - m[~k].mean() for m, k in zip(a.map, masks)) > 1


def test_a_training_that_is_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "EVERY", 2)
    red, x, rate = red_model(), with_red_patch(8, 0)[0], []
    made = {k: seeded(lambda: Explainer(red, grid=4)) for k in ("straight", "again")}
    taught(made["straight"], x, tmp_path / "straight", SIZE, s=1)
    save = loops.save

    def once(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(loops, "save", once)
    with pytest.raises(KeyboardInterrupt):
        taught(seeded(lambda: Explainer(red, grid=4)), x, tmp_path / "again", SIZE, s=1)
    monkeypatch.setattr(loops, "save", lambda *args: (rate.append(len(args[3])), save(*args)))
    taught(made["again"], x, tmp_path / "again", SIZE, s=1)
    assert rate == [4]  # one more checkpoint, of all four steps
    for a, b in zip(made["straight"].parameters(), made["again"].parameters()):
        assert torch.equal(a, b)


def test_what_has_no_blocks_or_no_head_is_refused(conse, tmp_path):
    bare = xu.wrap(small_cnn(), name="whole", image_size=32)
    with pytest.raises(ValueError, match="whole has no split"):
        Explainer(bare)
    headless, x = Explainer(conse.image), some(2, 224, 224)
    with pytest.raises(ValueError, match="blocks and a classifier head, got conse-lite0 image"):
        taught(headless, x, tmp_path / "out", SIZE, s=1)
    assert not (tmp_path / "out").exists()


# --- the commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """60 pictures of three categories, which share their names."""
    monkeypatch.delenv("XAI_DATA", raising=False)
    for i in range(60):
        file = tmp_path / "photographs" / "abc"[i % 3] / f"{i // 3:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((40, 30)).save(file)
    return tmp_path / "photographs"


def tiny():
    """A ViT of three blocks that takes (224, 224)."""
    shape = dict(img_size=224, patch_size=32, embed_dim=16, depth=3, num_heads=2, num_classes=10)
    model = seeded(lambda: timm.create_model("vit_tiny_patch16_224", **shape))
    return xu.wrap(model, name="tiny ViT")


def test_views_are_drawn_once_and_are_those_of_the_seed(folder, tmp_path, monkeypatch):
    found = photographs.photographs(folder)
    x = photographs.views(tmp_path / "first", found, 20, 0, 0)
    assert x.shape == (20, 3, 224, 224) and x.dtype == torch.uint8
    assert torch.equal(photographs.views(tmp_path / "second", found, 20, 0, 0), x)
    other = photographs.views(tmp_path / "third", found, 20, 1, 0)
    assert not any(torch.equal(a, b) for a, b in zip(x, other))
    monkeypatch.setattr(photographs, "opened", lambda place: pytest.fail("drawn again"))
    assert torch.equal(photographs.views(tmp_path / "first", found, 20, 0, 0), x)


COMMAND = ["--pictures", "6", "--workers", "0", "--steps", "2", "--batch", "2"]


def test_one_command_trains_and_goes_on(folder, tmp_path, monkeypatch):
    encoder, out = tiny(), tmp_path / "out"
    monkeypatch.setattr(train_explainers, "encoder_of", lambda name: encoder)
    command = [*COMMAND, "--out", str(out), "--images", str(folder)]
    train_explainers.main([*command, "--only", "vit-photos", "vit-photos/s4"])
    with pytest.raises(SystemExit):  # another recipe in the same folder
        train_explainers.main([*command, "--seed", "9"])
    recipe = json.loads((out / "vit-photos" / "recipe.json").read_text())
    held_out = photographs.parted(folder)[1]
    assert recipe["photographs"] == 60 - len(held_out)
    weights = load_file(out / "aha-vit-photos.safetensors")
    saved = torch.load(out / "vit-photos" / "checkpoint.pt", weights_only=True)["module"]
    assert all(torch.allclose(v.float(), saved[k], atol=1e-3) for k, v in weights.items())
    assert fresh(encoder, 0).load_state_dict(saved)
    monkeypatch.setattr(explainers, "load_model", lambda name, device: encoder)
    monkeypatch.setattr(explainers, "trained", lambda name: weights)
    monkeypatch.setattr(explainers, "TRAINED", out)
    x = some(1, 224, 224).float() / 255
    with torch.no_grad():
        assert load_explainer("vit-photos/s4")(x, torch.tensor([3])).shape == (1, 784)
