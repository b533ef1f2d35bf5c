"""The kit's own training: the same twice, resumable, and weights that are checked when they are
read."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import xai_utils as xu
from training import common, train_vit
from xai_utils.models import embedded
from xai_utils.models import training as loops

SIZE = dict(steps=40, batch=2, lr=1e-3, seed=0)


@pytest.fixture(scope="module")
def pictures(stamps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    return folder, train_vit.teach(folder / "pictures", 24, [], 0, 0)


def test_a_training_killed_and_resumed_is_the_training_that_was_not(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(loops, "EVERY", 20)
    folder, data = pictures
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    shutil.copytree(folder / "pictures", killed / "pictures")
    train_vit.train(straight, data, **SIZE)
    often = (
        "from training import train_vit; from xai_utils.models import training;"
        " training.EVERY = 20; train_vit.main()"
    )
    command = [sys.executable, "-c", often, "--out", killed, "--pictures", "24", "--workers", "0"]
    command += [f"--{k}={v}" for k, v in SIZE.items()]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "XAI_PROGRESS": "0",
    }
    process = subprocess.Popen(
        list(map(str, command)),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout.readline().startswith("step 20/40"), "the first checkpoint"
    time.sleep(0.2)  # some way into the next twenty
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(torch.load(killed / "checkpoint.pt", weights_only=True)["log"]) == 20
    train_vit.train(killed, data, **SIZE)
    assert (killed / "log.csv").read_text() == (straight / "log.csv").read_text()
    losses = torch.load(straight / "checkpoint.pt", weights_only=True)["log"]
    assert len(losses) == 40 and losses[-1]["cells"] < 0.8 * losses[0]["cells"]


def test_pictures_that_are_there_are_not_made_again(pictures, monkeypatch):
    folder, data = pictures
    monkeypatch.setattr(
        train_vit.Pictures, "__getitem__", lambda self, i: pytest.fail("made again")
    )
    again = train_vit.teach(folder / "pictures", 24, [], 0, 0)
    assert all(torch.equal(again[k], data[k]) for k in data)
    assert (
        data["x"].shape == (24, 112, 14, 14)
        and data["h"].shape == (24, 1280)
        and data["cells"].shape == (24, 320, 7, 7)
    )
    assert (data["things"] >= 0).any(1).all()  # without --images every picture shows stamps
    monkeypatch.undo()
    teacher = xu.load_model("efficientnet-lite0", device="cpu")
    image, _ = train_vit.Pictures(24, [], 0, teacher.transform)[3]
    assert torch.allclose(teacher(image[None])[0], data["h"][3].float(), atol=0.01)


def test_a_folder_with_another_recipe_is_not_gone_on_with(tmp_path, capsys):
    (tmp_path / "recipe.json").write_text('{"seed": 7}')
    with pytest.raises(SystemExit):
        train_vit.main(["--out", str(tmp_path), "--seed", "0"])
    assert "another recipe" in capsys.readouterr().err


def test_every_row_comes_once_in_a_round():
    rows = torch.cat([loops.batch_rows(24, 4, step, 0) for step in range(6)])
    assert sorted(rows.tolist()) == list(range(24))
    assert not torch.equal(rows[:4], loops.batch_rows(24, 4, 6, 0))


def test_captions_enter_the_loss_where_there_are_some(pictures):
    _, data = pictures
    student, names = train_vit.Student(), torch.eye(384)[: len(train_vit.captions())]
    teacher, space = xu.load_model("efficientnet-lite0", device="cpu"), torch.randn(1000, 384)
    batch = {k: v[:4].clone() for k, v in data.items()}
    with torch.no_grad():
        shown = train_vit.losses(student, batch, teacher.head, space, names)
        batch["things"][:] = -1
        bare = train_vit.losses(student, batch, teacher.head, space, names)
    assert bare["caption"] == 0 < shown["caption"] and bare["space"] > 2 * shown["space"]
    assert all(torch.isfinite(v) for v in [*shown.values(), *bare.values()])


def test_held_out_images_follow_from_their_names(tmp_path):
    for i in range(105):
        (tmp_path / f"{i}.jpg").touch()
    train, held = common.split_images(tmp_path)
    assert len(train) == 5 and len(held) == 100 and not set(train) & set(held)
    with pytest.raises(ValueError, match="more than the 100 pictures"):
        (tmp_path / "sub").mkdir()
        common.split_images(tmp_path / "sub")


def test_what_is_exported_is_what_is_loaded(pictures, tmp_path, monkeypatch):
    folder, data = pictures
    student = train_vit.Student()
    path = train_vit.export(tmp_path, student, dict(steps=0))
    assert path.stat().st_size < 16e6
    (tmp_path / "SHA256SUMS").write_text(
        subprocess.check_output(["sha256sum", path.name], cwd=tmp_path, text=True)
    )
    monkeypatch.setattr(embedded, "TRAINED", tmp_path)
    model = xu.load_model("vit-stamps", device="cpu")
    with torch.no_grad():
        h, logits, _ = student(data["x"][:2].float())
        z = model.image.parts
        got = z.tail(chain_blocks(z.blocks, stem_tokens(student, data["x"][:2].float())))
    assert torch.allclose(got, h, atol=0.02) and torch.allclose(
        model.image.head(got), logits, atol=0.02
    )  # float16 weights
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="missing or damaged"):
        xu.load_model("vit-stamps", device="cpu")


def stem_tokens(student, x):
    vit = student.vit
    return vit.norm_pre(vit._pos_embed(vit.patch_embed.proj(x).flatten(2).mT))


def chain_blocks(blocks, z):
    for block in blocks:
        z = block(z)
    return z
