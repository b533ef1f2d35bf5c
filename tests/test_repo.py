import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from xai_utils.papers import PAPERS, published, reference

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = sorted((ROOT / "xai_utils").rglob("*.py"))


def test_constraints_pin_every_requirement_within_its_range():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        requirement = Requirement(line)
        pin = pins[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert Version(pin) in requirement.specifier, line


def test_environment_yml_installs_what_pyproject_says():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(d for d in env["dependencies"] if isinstance(d, str) and d.startswith("python="))
    assert (
        Version(python.split("=")[1])
        in Requirement(f"python{PROJECT['requires-python']}").specifier
    )
    pip = next(d["pip"] for d in env["dependencies"] if isinstance(d, dict))
    assert pip == [
        "-c constraints.txt",
        "-e .[test]",
    ]  # pyproject's own list at the pinned versions


@pytest.mark.parametrize("verb", [["check"], ["format", "--check"]], ids=lambda v: v[0])
def test_one_written_width_for_package_tests_and_notebooks(verb):
    run = [sys.executable, "-m", "ruff", *verb, "--quiet", "--no-cache", ROOT]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PACKAGE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_house_rules(path):
    text = path.read_text()
    for word in (
        r"register_\w*hook",
        r"\.backward\(",
        r"(?<!\.)\beval\(",
        r"cmap=.jet",
        r"\.forward = ",
    ):
        assert not re.search(word, text), word
    if path.parent.name == "methods":
        assert len(text.splitlines()) <= 220


ORDER = [  # a module imports from its own row and from the rows above
    {"checks", "batching", "images", "outlines", "stats", "match", "corruption", "numerics"},
    {"types"},
    {"arguments"},
    {"data"},
    {"models"},
    {"methods"},
    {"metrics"},
    {"keys", "shards", "cases", "scoring", "rehearsal", "evaluate"},
    {"studies"},
    {"page", "papers", "plots", "explorer", "display"},
]
ROW = {name: row for row, names in enumerate(ORDER) for name in names}


def imported(path):
    """What a file of the package imports of it, at any depth and inside functions too: ("data",
    "scenes") for xai_utils.data.scenes."""
    home = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names = [(*base, a.name) for a in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(a.name.split(".")) for a in node.names]
        else:
            continue
        yield from (name[1:] for name in names if name[0] == "xai_utils")


def test_what_flows_right_does_not_flow_back():
    for path in PACKAGE:
        mine = path.relative_to(ROOT / "xai_utils").with_suffix("").parts[0]
        if mine == "__init__":
            continue
        assert mine in ROW, f"{mine} has no place in ORDER"
        for used in imported(path):
            assert ROW[used[0]] <= ROW[mine], f"{path.name} of {mine} imports {'.'.join(used)}"
            assert mine != "models" or used[:2] != ("data", "scenes"), f"{path.name}: data.scenes"


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_of_the_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text):
        assert (page.parent / target.split("#")[0]).exists(), target
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_make_help_names_the_targets():
    out = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("setup", "reproduce", "test", "lab", "clean"):
        assert re.search(rf"^{target}\b", out, re.M)


def test_published_numbers():
    assert set(reference().paper) == set(PAPERS)
    cell = published("p-ibisa", "2").query(
        "method == 'p-ibisa' and dataset == 'flickr8k' and metric == 'conf-drop'"
    )
    assert cell.value.tolist() == [0.890]
    with pytest.raises(ValueError, match="unknown paper"):
        published("ibisa", "1")
    with pytest.raises(ValueError, match="has no table '9'"):
        published("p-ibisa", "9")


def options_in(text):
    """(notebook's number, parameter) of every `-p NAME VALUE`, the notebook named on the line."""
    for line in text.splitlines():
        for named, command in re.findall(r"notebooks?[/ ](\d\d)([^|]*)", line):
            yield from ((named, name) for name in re.findall(r"-p ([a-z_]+) ", command))


def test_commands_in_the_docs_name_parameters_that_their_notebooks_have():
    assert list(options_in("(notebook 10 repeats it with `-p a 8 -p b 9`)")) == [
        ("10", n) for n in "ab"
    ]
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for number, name in options_in(file.read_text(encoding="utf-8")):
            notebook = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            parameters = next(c for c in cells if "parameters" in c["metadata"].get("tags", []))
            found = re.findall(r"^(\w+)\s*[:=]", "".join(parameters["source"]), re.M)
            assert name in found, f"{file.name}: notebook {number} has no parameter {name}"
