"""A profile other than embedded: what its notebooks ask for, the page of what is missing, and where
everything of it lands."""

import os
import re
import shutil
import subprocess
import sys

import needs
import pytest
import runs
from needs import Need
from test_runs import NOTEBOOKS, notebook

from xai_utils.data import DATASETS, SOURCES
from xai_utils.models import EMBEDDED, PAPER_NAMES, STRATEGY_NAMES

pytestmark = pytest.mark.slow

ROOT = runs.ROOT
LIKE_A_MODEL_OR_DATA = r"model|encoder|captioner|tower|cnn|vit|dual|data"


def loads(value) -> bool:
    """Whether load_model or load_dataset knows the name."""
    names = {*EMBEDDED, *STRATEGY_NAMES, *PAPER_NAMES, *DATASETS}
    return value.split("/")[0] in {*names, "open_clip", "timm", "transformers"}


def words(value) -> list[str]:
    parts = value if isinstance(value, (list, dict)) else [value]
    return [word for part in parts if isinstance(part, str) for word in part.split()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_parameter_names_models_or_data_just_where_the_rule_says_so(path):
    for name, value in runs.defaults(path).items():
        like_one = re.search(LIKE_A_MODEL_OR_DATA, name) and (words(value) or value == {})
        assert bool(needs.kind(name)) == bool(like_one or any(map(loads, words(value)))), name
        if needs.kind(name):
            assert all(map(loads, words(value))), name


@pytest.mark.parametrize("profile", ["paper", "captioned"])
def test_profiles_name_data_sets_and_splits_that_there_are(profile):
    files = sorted((ROOT / "profiles" / profile).glob("*.yaml"))
    assert files
    for file in files:
        source = ROOT / "notebooks" / f"{file.stem}.ipynb"
        asked = needs.needs(runs.defaults(source) | runs.profile_parameters(source, profile))
        for name in (need.name for need in asked if need.kind == "data"):
            kept, _, split = name.partition("/")
            assert kept in DATASETS, f"{file}: {name}"
            if kept in SOURCES and split:
                assert split in SOURCES[kept].splits, f"{file}: {name}"


def test_what_parameters_ask_for():
    given = dict(
        data="coco flickr8k",
        things_data={"coco": 3, "flickr8k/all": 2},
        shown_data=["coco", "photos"],
        model_name="open_clip/ViT-B-32",
        pretrained="openai",
        cnn_names="vgg16 resnet50",
        other_name="transformers/a folder/clip",
        models=["vgg16"],
        captioner_name="",
        whole_towers=True,
        metadata=3,
        n=2,
    )
    assert needs.needs(given) == [
        Need("data", "coco"),
        Need("data", "flickr8k"),
        Need("data", "flickr8k/all"),
        Need("data", "photos"),
        Need("model", "open_clip/ViT-B-32", "openai"),
        Need("model", "vgg16"),
        Need("model", "resnet50"),
        Need("model", "transformers/a folder/clip"),
    ]
    assert needs.needs(dict(photo_model="vgg16", pretrained="openai")) == [Need("model", "vgg16")]


ADDRESS = "https://example.org/" + "a-long-path/" * 9


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Two notebooks of the profile "toy" and one that is not in it; coco lies in XAI_DATA or not,
    a-model nowhere."""
    source = tmp_path / "notebooks"
    for folder in (source, tmp_path / "profiles" / "toy"):
        folder.mkdir(parents=True)
    for stem in ("67_other", "68_runs", "69_lacks"):
        notebook(
            source / f"{stem}.ipynb",
            'data: str = "photos"\nmodel_name: str = "ours"\npretrained: str = ""',
        )
    settings = tmp_path / "profiles" / "toy"
    (settings / "68_runs.yaml").write_text("data: photos\n")
    (settings / "69_lacks.yaml").write_text(
        "data: {coco: 2, photos: 2, coco/train: 9}\nmodel_name: a-model\n"
    )
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.delenv("XAI_DATA", raising=False)

    def lacks(need):
        if need.name == "nonsense":
            raise ValueError("unknown data set 'nonsense'")
        there = need.name in ("photos", "ours")
        return "" if there else f"no {need.name.split('/')[0]}/list.txt: {ADDRESS}."

    monkeypatch.setattr(needs, "lacks", lacks)
    return tmp_path


def call(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["runs", *map(str, args)])
    code = runs.main()
    return code, *capsys.readouterr()


def test_what_is_missing_stands_on_one_page_and_the_rest_is_ready(profile, monkeypatch, capsys):
    both = [profile / "notebooks" / f"{stem}.ipynb" for stem in ("68_runs", "69_lacks")]
    code, out, _ = call(monkeypatch, capsys, "ready", *both, "--profile", "toy")
    assert code == 0
    assert out.split() == [str(both[0])]
    file = profile / "build" / "toy" / "missing.txt"
    page = file.read_text()
    assert "toy: 1 of 2 notebooks" in page
    assert "XAI_DATA is not set" in page
    assert page.count("no coco/list.txt") == page.count("no a-model/list.txt") == 1
    assert "coco, coco/train (data set), needed by 69\n" in page
    assert "68_runs   runs\n" in page
    assert "69_lacks  lacks coco, coco/train, a-model\n" in page
    assert ADDRESS in page
    assert all(len(line) <= 100 for line in page.splitlines() if ADDRESS not in line)
    monkeypatch.setenv("XAI_DATA", str(profile))
    call(monkeypatch, capsys, "ready", both[1], "--profile", "toy")
    assert "XAI_DATA is not set" not in file.read_text()
    code, out, _ = call(monkeypatch, capsys, "ready", both[0], "--profile", "toy")
    assert (code, out.split()) == (0, [str(both[0])])
    assert not file.exists()


@pytest.mark.parametrize(
    ("stem", "settings", "said"),
    [
        ("68_runs", "data: nonsense", "68_runs: unknown data set 'nonsense'"),
        ("68_runs", "date: coco", "68_runs.ipynb has no parameter date"),
        ("68_runs", "- coco", "must hold one `name: value` a line"),
        ("67_other", "", "67_other.ipynb is not in profile 'toy'"),
        ("66_gone", "data: coco", "66_gone.ipynb"),
    ],
)
def test_a_mistake_in_a_profile_is_an_error_not_a_want(
    profile, monkeypatch, capsys, stem, settings, said
):
    if settings:
        (profile / "profiles" / "toy" / f"{stem}.yaml").write_text(settings)
    source = profile / "notebooks" / f"{stem}.ipynb"
    code, out, err = call(monkeypatch, capsys, "ready", source, "--profile", "toy")
    assert (code, out) == (1, "")
    assert said in err
    assert not (profile / "build").exists()


STAND_IN = """
import os, runpy, sys, types
from pathlib import Path

def lacks(name, *_):
    there = name in ("photos", "ours") or (Path(os.environ.get("XAI_DATA", "-")) / name).is_dir()
    return "" if there else f"no folder {name}: see example.org."

def write_index(figures, profile):
    (figures / "index.html").write_text(profile)

functions = types.SimpleNamespace(lacks=lacks)  # without the package, which takes seconds to import
sys.modules["xai_utils"] = types.SimpleNamespace(data=functions, models=functions)
sys.modules["gallery"] = types.SimpleNamespace(write_index=write_index)
sys.path.insert(0, "tools")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
DRAWS = """
import os
from pathlib import Path
assert all(name == "photos" or Path(os.environ["XAI_DATA"], name).is_dir() for name in data.split())
number = os.environ["XAI_NOTEBOOK"][:2]
Path(os.environ["XAI_FIGURES"], f"{number}-a.txt").write_text(f"Of {data}.")
"""


@pytest.fixture
def kit(tmp_path):
    """The Makefile and the tools beside two small notebooks; make(...) runs there."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in ("notebooks", "profiles/toy", "xai_utils/models", ".venv/bin", "build", "figures"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "xai_utils/models/embedded.py"):
        (tmp_path / name).touch()
    for stem, data in (("68_runs", "photos"), ("69_lacks", "coco")):
        notebook(tmp_path / f"notebooks/{stem}.ipynb", 'data: str = "photos"', DRAWS)
        (tmp_path / f"profiles/toy/{stem}.yaml").write_text(f"data: {data}\n")
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} stand_in.py "$@"\n')
    python.chmod(0o755)
    for name in (".venv/.ready", "build/.data"):
        (tmp_path / name).touch()
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "XAI_"))}
    settings["PYTHONPATH"] = str(ROOT)

    def make(*args, **more):
        return subprocess.run(
            ["make", *args], cwd=tmp_path, env=settings | more, capture_output=True, text=True
        )

    return tmp_path, make


def test_make_says_what_is_missing_runs_the_rest_and_keeps_it_apart(kit):
    home, make = kit
    before = sorted(home.glob("figures/**/*"))
    done = make("reproduce", "PROFILE=toy")
    build = home / "build" / "toy"
    page = (build / "missing.txt").read_text()
    assert done.returncode == 2
    assert done.stdout.startswith(page)
    assert done.stdout.splitlines()[-1] == "what is missing: build/toy/missing.txt"
    assert len(done.stderr.splitlines()) == 1, done.stderr
    files = {p.relative_to(build).as_posix() for p in build.rglob("*") if p.is_file()}
    drawn = {f"figures/{name}" for name in ("68-a.txt", "index.html")}
    assert files == {"missing.txt", "68_runs.ipynb", *drawn}
    assert sorted(home.glob("figures/**/*")) == before

    first = (build / "68_runs.ipynb").stat().st_mtime_ns
    (home / "profiles" / "toy" / "69_lacks.yaml").touch()  # which is no reason to run the other
    (home / "sets" / "coco").mkdir(parents=True)
    done = make("reproduce", "PROFILE=toy", XAI_DATA="sets")  # relative, to where make runs
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "open build/toy/figures/index.html"
    assert "68_runs" not in done.stdout
    assert (build / "68_runs.ipynb").stat().st_mtime_ns == first
    assert not (build / "missing.txt").exists()
    assert (build / "figures" / "69-a.txt").read_text() == "Of coco."


def test_make_starts_nothing_where_everything_lacks_or_nothing_is_named(kit):
    home, make = kit
    done = make("reproduce", "PROFILE=toy", "NB=69")
    assert done.returncode == 2
    assert [p.name for p in (home / "build" / "toy").iterdir()] == ["missing.txt"]
    for args in (["PROFILE=toy", "NB=00"], ["PROFILE=none"]):
        done = make("reproduce", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"Makefile:\d+: \*\*\* PROFILE=\w+ .*\n", done.stderr)
