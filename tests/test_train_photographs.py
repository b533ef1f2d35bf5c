"""lit-lite0 and vit-photos: photographs become features once, the losses are what they are called,
and a training that was killed goes on as if it had not been."""

import hashlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open

import xai_utils as xu
from training import photographs, train_lit, train_vit_photos
from xai_utils.models import embedded
from xai_utils.models import training as loops
from xai_utils.models.lit import LitImage, LitText

pytestmark = pytest.mark.slow

SIZE = dict(steps=6, batch=2, lr=1e-3, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pictures of noise with a coarse pattern."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(4):
        coarse = Image.fromarray(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8))
        coarse.resize((100 + 20 * i, 90), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def features(folder, tmp_path_factory):
    out, mp = tmp_path_factory.mktemp("features"), pytest.MonkeyPatch()
    mp.delenv("XAI_DATA", raising=False)
    pictures = photographs.photographs(folder)
    x = photographs.features(out / "stages", pictures, 0, 0)
    mp.undo()
    return x, train_lit.pooled(out / "pooled", x)


@torch.no_grad()
def test_features_are_of_the_whole_picture_and_of_crops(folder, features, classifier):
    x, h = features
    assert x.shape == (4, photographs.VIEWS, 192, 7, 7) and h.shape == (4, photographs.VIEWS, 1280)
    whole = classifier.transform(Image.open(folder / "2.png"))[None]
    assert torch.allclose(classifier.split(6).prefix(whole)[0], x[2, 0].float(), atol=0.05)
    assert torch.allclose(classifier(whole)[0], h[2, 0].float(), atol=0.02)
    spread = x.float().std(1).mean((1, 2, 3))
    assert (spread > 0.01).all(), "crops differ"
    files = photographs.photographs(folder)
    crops = photographs.Crops(files, 0, classifier.transform)
    assert torch.equal(crops[1], crops[1])
    assert not torch.equal(crops[1][1], photographs.Crops(files, 1, classifier.transform)[1][1])


def test_data_sets_come_before_the_folder(folder, tmp_path, monkeypatch):
    text = tmp_path / "flickr8k/Flickr8k_text"
    text.mkdir(parents=True)
    (tmp_path / "flickr8k/Flickr8k_Dataset").symlink_to(folder)
    (text / "Flickr8k.token.txt").write_text("1.png#0\tone\n3.png#0\tthree\n")
    for split, names in dict(train="3.png", dev="1.png", test="1.png").items():
        (text / f"Flickr_8k.{split}Images.txt").write_text(names)
    monkeypatch.setenv("XAI_DATA", str(tmp_path))
    found = photographs.photographs(folder)
    assert [p.name for p in found[2:]] == [f"{i}.png" for i in range(4)]
    assert [data[i].id for data, i in found[:2]] == ["3.png", "1.png"]
    assert all("test" not in data.name for data, _ in found[:2])


def lit_data(h):
    t = F.normalize(torch.randn(6, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    return h, t, torch.tensor([0, 0, 1, 1, 2, 2])


def test_lit_begins_as_conse_and_its_losses_are_infonce_and_kl(features, conse, monkeypatch):
    h, t, of = lit_data(features[1])
    monkeypatch.setattr(train_lit, "CROPPED", 0.0)
    monkeypatch.setattr(train_lit, "PUSH", 0.0)
    model = train_lit.Lit(h, 0.0)
    losses = train_lit.Losses(model, h, t, of, 0)
    found = losses(torch.arange(3), 5)
    images = losses.model.image(h[:3, 0].float())
    best = []
    for captions in np.ndindex(2, 2, 2):  # which captions were drawn does not show
        texts = model.text(t[[2 * i + c for i, c in enumerate(captions)]])
        s = images @ texts.T / 0.07
        own = torch.arange(3)
        best.append((F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2)
    assert min((found["pairs"] - b).abs() for b in best) < 1e-5
    kls = []
    for view in range(h.shape[1]):  # of the one photograph without captions
        x = h[3, view].float()[None]
        named = (model.image(x) @ model.text(losses.prompts).T / 0.07).log_softmax(1)
        told = losses.classifier(x).log_softmax(1)
        kls.append((told.exp() * (told - named)).sum())
    assert min(kls) - 1e-4 <= found["classes"] <= max(kls) + 1e-4
    assert torch.allclose(images, F.normalize(losses.model.image.conse(h[:3, 0].float()), dim=1))


def test_pushed_embeddings_say_the_class_more_and_others_stay(features):
    h, t, of = lit_data(features[1])
    losses = train_lit.Losses(train_lit.Lit(h, 0.0), h, t, of, 0)
    x = h[:, 0].float().repeat(50, 1)
    torch.manual_seed(0)
    pushed = losses.pushed(x)
    moved = (pushed != x).any(1)
    assert 0.3 < moved.float().mean() < 0.7 and pushed.min() >= 0 and pushed.max() <= 6
    higher = (losses.classifier(pushed) - losses.classifier(x))[moved].amax(1)
    assert higher.median() > 3


@pytest.mark.parametrize("module", [train_lit, train_vit_photos])
def test_the_same_losses_twice_also_when_killed(features, tmp_path, monkeypatch, module):
    monkeypatch.setattr(loops, "EVERY", 2)
    x, h = features
    data, size = (lit_data(h), SIZE) if module is train_lit else ((x,), SIZE | dict(muon=0.02))
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir(), killed.mkdir()
    module.train(straight, *data, **size)
    call, calls = module.Losses.__call__, []

    def broken(self, rows, step):
        calls.append(step)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return call(self, rows, step)

    monkeypatch.setattr(module.Losses, "__call__", broken)
    with pytest.raises(KeyboardInterrupt):
        module.train(killed, *data, **size)
    monkeypatch.setattr(module.Losses, "__call__", call)
    module.train(killed, *data, **size)
    log = (killed / "log.csv").read_text()
    assert log == (straight / "log.csv").read_text() and log.count("\n") == 7


@torch.no_grad()
def test_the_student_begins_with_standardised_features(features):
    x = features[0]
    student = train_vit_photos.Student()
    losses = train_vit_photos.Losses(student, x, 0)
    tokens = student.vit.patch_embed.proj(x[:, 0].float())
    assert tokens.mean((0, 2, 3)).abs().max() < 1e-2
    assert (tokens.std((0, 2, 3)) - 1).abs().max() < 1e-2
    cells, h = losses.teacher(x[:2, 0].float())
    assert cells.shape == (2, 320, 7, 7) and torch.allclose(h, features[1][:2, 0].float(), atol=0.1)


def test_views_are_mirrored_and_rectangles_are_of_the_next(features):
    x = features[0]
    losses = train_vit_photos.Losses(train_vit_photos.Student(), x, 0)
    rows, seen = torch.arange(4), {"as they are": 0, "mirrored": 0, "mixed": 0}
    for step in range(40):
        views, other = losses.views(rows, step)
        for view, row in zip(views, rows):
            own = x[row].float()
            seen["as they are"] += any(torch.equal(view, v) for v in own)
            seen["mirrored"] += any(torch.equal(view, v.flip(-1)) for v in own)
        seen["mixed"] += int(other.flatten(1).any(1).sum())
        both = train_vit_photos.mixed(views, other[:, None])
        for i, where in enumerate(other):
            assert torch.equal(both[i][:, where], views[(i + 1) % 4][:, where])
            assert torch.equal(both[i][:, ~where], views[i][:, ~where])
            rows_, columns = where.any(1).sum(), where.any(0).sum()
            assert where.sum() == rows_ * columns, "a rectangle"
    assert seen["as they are"] > 40 and seen["mirrored"] > 40
    assert seen["as they are"] + seen["mirrored"] >= 160, "each view is one of these"
    assert 10 < seen["mixed"] < 100


@torch.no_grad()
def test_late_mixing_exchanges_tokens_and_takes_the_class_token_away(features):
    x, student = features[0][:, 0].float(), train_vit_photos.Student().eval()
    everywhere, nowhere = torch.ones(4, 7, 7, dtype=bool), torch.zeros(4, 7, 7, dtype=bool)
    plain, left, all_other = student(x), student(x, nowhere), student(x, everywhere)
    assert not torch.allclose(left[0], plain[0], atol=1e-4), "another picture's class token"
    assert torch.allclose(plain[3].roll(-1, 0), all_other[3], atol=0.05)
    for block in student.vit.blocks[train_vit_photos.LATE :]:
        block.ls1.gamma.zero_()
        block.ls2.gamma.zero_()
    assert torch.allclose(student(x)[0].roll(1, 0), student(x, nowhere)[0], atol=1e-5)
    assert torch.allclose(student(x)[3].roll(-1, 0), student(x, everywhere)[3], atol=1e-5)


@torch.no_grad()
def test_offset_is_the_mean_of_the_tokens_beside_their_variance(features):
    x, student = features[0][:, 0].float(), train_vit_photos.Student().eval()
    for block in student.vit.blocks:  # all of them see what enters
        block.ls1.gamma.zero_()
        block.ls2.gamma.zero_()
    student.vit.patch_embed.proj.weight.copy_(torch.eye(192)[:, :, None, None])
    student.vit.patch_embed.proj.bias.fill_(3.0)
    student.vit.pos_embed.zero_()
    cells = x + 3
    wanted = cells.mean((0, 2, 3)).square().sum() / cells.var((0, 2, 3)).sum()
    assert torch.allclose(student(x)[4], wanted, rtol=1e-2)


@torch.no_grad()
def test_what_is_exported_is_what_is_loaded(features, tmp_path, monkeypatch, classifier):
    x, h = features
    student = train_vit_photos.Student().eval()
    for i, block in enumerate(student.vit.blocks):
        block.ls1.gamma.mul_(1 + i)
    w = train_vit_photos.export(tmp_path, student, x, dict(steps=0))
    assert json.loads(recipe_in(w)) == dict(steps=0)
    lit = train_lit.export(tmp_path, model := train_lit.Lit(h, 0.0), dict(steps=0))
    sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}" for f in (w, lit)]
    (tmp_path / "SHA256SUMS").write_text("\n".join(sums))
    monkeypatch.setattr(embedded, "TRAINED", tmp_path)
    vit = xu.load_model("vit-photos", device="cpu")
    pictures = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    embedding, logits, *_ = student(classifier.split(6).prefix(pictures))
    assert torch.allclose(vit.image(pictures), embedding, atol=0.02)
    assert torch.allclose(vit.image.head(vit.image(pictures)), logits, atol=0.02)
    seen = student.vit.blocks[: train_vit_photos.SCALED]
    unscaled = seen(
        student.vit._pos_embed(student.vit.patch_embed.proj(x[:, 0].float()).flatten(2).mT)
    )
    scaled = embedded.new_vit_photos()[0]
    scaled.load_state_dict(train_vit_photos.folded(student.vit, x[:, 0].float()))
    tokens = scaled.blocks[: train_vit_photos.SCALED](
        scaled._pos_embed(scaled.patch_embed.proj(x[:, 0].float()).flatten(2).mT)
    )
    assert abs(tokens[:, 1:].std() - 1) < 1e-3
    assert torch.allclose(tokens * unscaled[:, 1:].std(), unscaled, atol=1e-3)
    dual = xu.load_model("lit-lite0", device="cpu")
    assert isinstance(model.image, LitImage) and isinstance(model.text, LitText)
    assert torch.allclose(dual.image(pictures), model.image(classifier(pictures)), atol=1e-3)
    w.write_bytes(w.read_bytes()[:-1])
    with pytest.raises(ValueError, match="missing or damaged"):
        xu.load_model("vit-photos", device="cpu")


def recipe_in(path) -> str:
    with safe_open(path, "pt") as weights:
        return weights.metadata()["recipe"]


@pytest.mark.parametrize("module", [train_lit, train_vit_photos])
def test_another_recipe_is_refused(tmp_path, folder, monkeypatch, capsys, module):
    monkeypatch.delenv("XAI_DATA", raising=False)
    (tmp_path / "recipe.json").write_text('{"seed": 7}')
    with pytest.raises(SystemExit):
        module.main(["--out", str(tmp_path), "--images", str(folder)])
    assert "another recipe" in capsys.readouterr().err
