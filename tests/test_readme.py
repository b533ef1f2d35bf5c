"""Every block of code in the README and in docs/usage.md runs on its own."""

import re
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = README + (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGES, re.S)
TITLES = [f"{i}: {block.splitlines()[0]}" for i, block in enumerate(BLOCKS)]


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_a_block_runs_on_its_own(block, tmp_path, stamps, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def test_there_are_blocks_for_what_users_bring():
    text = "\n".join(BLOCKS)
    for brought in ("transformers.", "timm.", "open_clip.", "xu.Sample(", "xu.Parts(", "verdict("):
        assert brought in text


def test_the_readme_is_short_and_leads_to_every_notebook():
    assert len(README.split()) < 1200
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{notebook.name})" in README
