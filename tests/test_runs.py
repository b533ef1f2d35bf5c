import json
import subprocess
import sys

import gallery
import nbformat
import papermill
import pytest
import runs
import yaml
from needs import kind

from xai_utils import plots

ROOT = runs.ROOT
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def notebook(path, *cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    return path


def run(*args):
    """As the Makefile calls it."""
    return subprocess.run(
        [sys.executable, "tools/runs.py", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


FIGURE = "from pathlib import Path; import os; Path(os.environ['XAI_FIGURES'], '99-b.png').touch()"


def figures_of_the_last_run(folder):
    folder.mkdir(parents=True)
    for name in ("99-a.png", "98-other.png"):
        (folder / name).write_text("old")
    return lambda: sorted(f.name for f in folder.iterdir())


def test_a_failing_cell_fails_the_run_is_named_and_leaves_no_fresh_target(tmp_path):
    source = notebook(
        tmp_path / "99_broken.ipynb", "n: int = 1", FIGURE, "raise RuntimeError('on purpose')"
    )
    figures = figures_of_the_last_run(tmp_path / "build" / "figures")
    target = tmp_path / "build" / source.name
    target.write_text("stale")
    done = run("notebook", source, target, "-p", "n", 2)
    assert done.returncode == 1
    assert (
        "99_broken.ipynb: cell In [4]" in done.stderr
    )  # the parameters of the run are a cell of their own
    assert "RuntimeError: on purpose" in done.stderr
    assert not target.exists()
    assert figures() == ["98-other.png", "99-a.png"]
    assert not list(target.parent.glob("*.figures"))


def test_parameters_reach_the_notebook_and_unknown_ones_are_an_error(tmp_path, monkeypatch, capsys):
    source = notebook(tmp_path / "99_fine.ipynb", "n: int = 1", FIGURE, "print('n is', n)")
    target = tmp_path / "build" / source.name
    figures = figures_of_the_last_run(target.parent / "figures")
    assert run("notebook", source, target, "-p", "n", 7).returncode == 0
    assert "n is 7" in target.read_text()
    assert figures() == ["98-other.png", "99-b.png"]
    assert not list(target.parent.glob("*.figures"))
    for given, said in (
        (["-p", "m", "7"], "99_fine.ipynb has no parameter m: it has n"),
        (["-p", "n", "[7"], "expected ',' or ']'"),
        (["--profile", "mine"], "99_fine.ipynb is not in profile 'mine'"),
    ):
        monkeypatch.setattr(sys, "argv", ["runs", "notebook", str(source), str(target), *given])
        assert runs.main() == 1
        assert said in capsys.readouterr().err
        assert figures() == ["98-other.png", "99-b.png"]
        assert "n is 7" in target.read_text()


@pytest.mark.parametrize("file", sorted((ROOT / "profiles").rglob("*.yaml")), ids=lambda f: f.stem)
def test_every_profile_key_is_a_parameter_of_its_notebook(file):
    source = ROOT / "notebooks" / f"{file.stem}.ipynb"
    keys = yaml.safe_load(file.read_text())
    assert keys
    assert not any(isinstance(v, dict) for k, v in keys.items() if kind(k) != "data")
    runs.check_parameters(source, keys)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_as_a_reader_wants_them(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    code = [c for c in nb.cells if c.cell_type == "code"]
    text = [c.source for c in nb.cells if c.cell_type == "markdown"]
    assert 20 <= len(nb.cells) <= 60
    assert path.stat().st_size < 1_500_000
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert all(len(c.source.splitlines()) <= 25 for c in code)
    assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1
    assert sum("# NBVAL_CHECK_OUTPUT" in c.source.splitlines() for c in code) >= 3
    assert not any(
        o.get("name") == "stderr" or o.output_type == "error" for c in code for o in c.outputs
    )
    headings = [line for t in text for line in t.splitlines() if line.startswith("#")]
    assert sum(h.startswith("# ") for h in headings) == 1
    assert not any(h.startswith("###") for h in headings)
    assert nb.metadata.kernelspec.name == "python3"
    assert all(
        p["inferred_type_name"] != "None" for p in papermill.inspect_notebook(str(path)).values()
    )


@pytest.mark.parametrize(
    ("profile", "place", "notebooks"),
    [("embedded", "embedded/", "../notebooks"), ("paper", "", "..")],
)
def test_the_index_shows_figures_and_tables_under_their_paper(
    tmp_path, monkeypatch, profile, place, notebooks
):
    import matplotlib.pyplot as plt
    import pandas as pd

    folder = tmp_path / "figures" / place
    folder.mkdir(parents=True)
    monkeypatch.setenv("XAI_FIGURES", str(folder))
    monkeypatch.setenv("XAI_NOTEBOOK", "11_words")
    fig, _ = plt.subplots()
    plots.show(fig, "11-one", "A caption with <b>.", 'an "alt" text')
    fig, ax = plt.subplots()
    ax.imshow([[0, 1]])
    plots.show(fig, "11-map", "A map.", "a map")
    plots.show_table(pd.DataFrame({"a": [1], "b": ["<x>"]}), "11-two", "A table.")
    page = gallery.write_index(tmp_path / "figures", profile).read_text()
    assert f"P-IBISA ({profile})" in page
    assert f'src="{place}11-one.png"' in page
    assert f'src="{place}11-map.jpg"' in page
    assert "A caption with &lt;b&gt;." in page
    assert "an &quot;alt&quot; text" in page
    assert "<td>&lt;x&gt;</td>" in page
    assert f'href="{notebooks}/11_words.ipynb"' in page
    assert "http" not in page  # opens from disk
    assert json.loads((folder / "11-two.json").read_text())["kind"] == "table"


def test_figures_are_not_written_in_an_interactive_session(monkeypatch):
    monkeypatch.delenv("XAI_FIGURES", raising=False)
    assert plots.figures_folder() is None


def test_the_explorer_is_a_slider_for_a_person_and_a_line_without_one(monkeypatch, capsys):
    import matplotlib
    import torch
    from PIL import Image

    from xai_utils.explorer import explore

    maps = {b: torch.full((8, 8), b / 10) for b in (1.0, 2.0)}
    arguments = (Image.new("RGB", (8, 8)), maps)
    monkeypatch.setenv("XAI_PROGRESS", "0")
    assert explore(*arguments, name="beta", unit="mask value") is None
    assert "a slider over beta" in capsys.readouterr().out
    monkeypatch.delenv("XAI_PROGRESS")
    matplotlib.use("agg")
    widget = explore(*arguments, name="beta", unit="mask value")
    assert list(widget.children[0].options) == [1.0, 2.0]
