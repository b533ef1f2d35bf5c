"""The kit's own training: killed at any moment it goes on as if it had not been, and what it has
computed before is not computed again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training import photographs, train_vit_photos
from xai_utils.models import training as loops

pytestmark = pytest.mark.slow

SIZE = dict(steps=24, batch=2, seed=0, workers=0)
EVERY, SCENES = 8, 2


@pytest.fixture
def command(stamps, tmp_path, monkeypatch):
    """(out) -> the command line of a small training on three pictures and two scenes."""
    monkeypatch.delenv("XAI_DATA", raising=False)
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    for i in range(3):
        coarse = Image.fromarray(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8))
        coarse.resize((120, 90), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    more = [f"--{k}={v}" for k, v in SIZE.items()]
    shared = ["--images", str(folder), "--features", str(tmp_path / "features")]
    return lambda out: ["--out", str(out), *shared, *more]


def test_a_training_killed_and_resumed_is_the_training_that_was_not(command, tmp_path, monkeypatch):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    often = (
        "from training import train_vit_photos as script; from xai_utils.models import training;"
        f" training.EVERY, script.SCENES = {EVERY}, {SCENES}; script.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", often, *command(killed)],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "XAI_PROGRESS": "0"},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout.readline().startswith(f"step {EVERY}/24"), "the first checkpoint"
    time.sleep(0.2)  # some way into the next eight
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(torch.load(killed / "checkpoint.pt", weights_only=True)["log"]) == EVERY

    monkeypatch.setattr(loops, "EVERY", EVERY)
    monkeypatch.setattr(train_vit_photos, "SCENES", SCENES)
    again = lambda self, i: pytest.fail("features were computed again")  # noqa: E731
    monkeypatch.setattr(photographs.Crops, "__getitem__", again)
    for out in (killed, straight):
        train_vit_photos.main(command(out))
    for name in ("log.csv", "vit-photos.safetensors"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes()
    losses = torch.load(straight / "checkpoint.pt", weights_only=True)["log"]
    assert len(losses) == 24 and losses[-1]["cells"] < 0.8 * losses[0]["cells"]


def test_every_row_comes_once_in_a_round():
    rows = torch.cat([loops.batch_rows(24, 4, step, 0) for step in range(6)])
    assert sorted(rows.tolist()) == list(range(24))
    assert not torch.equal(rows[:4], loops.batch_rows(24, 4, 6, 0))
