"""Every block of code in the README runs on its own, in a fresh interpreter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
TITLES = [f"{i}: {block.splitlines()[0]}" for i, block in enumerate(BLOCKS)]


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_a_block_runs_on_its_own(block, tmp_path, stamps):
    run = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", block]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "XAI_PROGRESS": "0"}
    done = subprocess.run(run, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_there_are_blocks_for_what_users_bring():
    text = "\n".join(BLOCKS)
    for brought in ("transformers.", "timm.", "open_clip.", "xu.Sample(", "xu.Parts(", "verdict("):
        assert brought in text
