"""What the Makefile calls: prepare the data, say which notebooks of a profile have all they need,
run a notebook headless, refresh it in place, write a profile's index.html.

The Makefile runs this file as a script, so that a notebook starts without importing the package
here first.
"""

import argparse
import ast
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = (
    *("XAI_DATA", "XAI_WEIGHTS", "XAI_CACHE", "XAI_STAMPS", "XAI_OPENCV", "XAI_WORDNET"),
    *("XAI_WALLPAPERS", "XAI_TEMPLATES"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/runs.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare")
    commands.add_parser("index").add_argument("--profile", default="embedded")
    ready_command = commands.add_parser("ready", help="what is missing goes to missing.txt")
    ready_command.add_argument("sources", type=Path, nargs="+")
    ready_command.add_argument("--profile", required=True)
    run = commands.add_parser("notebook")
    run.add_argument("source", type=Path)
    run.add_argument("target", type=Path)
    run.add_argument("--profile", default="embedded")
    run.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="one parameter; figures then lie beside TARGET, so that figures/ stays as it is",
    )
    commands.add_parser("refresh").add_argument("source", type=Path)
    args = parser.parse_args()
    os.environ["XAI_PROGRESS"] = "0"  # bars inside a notebook would be saved with it
    for name in filter(os.environ.get, FOLDERS):  # a notebook runs in the folder notebooks
        os.environ[name] = str(Path(os.environ[name]).resolve())
    try:
        if args.command == "prepare":
            prepare()
        elif args.command == "index":
            index(args.profile)
        elif args.command == "ready":
            print(*ready(args.sources, args.profile))
        elif args.command == "refresh":
            refresh(args.source)
        else:
            given = {name: yaml.safe_load(value) for name, value in args.p}
            run_notebook(args.source, args.target, args.profile, given)
    except PapermillExecutionError as error:
        where = f"{args.source.name}: cell In [{error.exec_count}]"
        print(f"{where} failed: {error.ename}: {error.evalue}\n\n{error.source}", file=sys.stderr)
        return 1
    except (ValueError, OSError, yaml.YAMLError) as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    return 0


def index(profile: str) -> None:
    """The pages of all figures and claims, for embedded also docs/evidence.md, the claims in
    docs/papers.md and their count in README.md."""
    from gallery import write_index

    print(f"wrote {write_index(figures_page(profile), profile)}")
    if profile == "embedded":
        from claim_pages import with_claims, with_count
        from evidence_page import evidence_page

        for file, drawn in ((ROOT / "docs" / "papers.md", with_claims), (README, with_count)):
            file.write_text(drawn(file.read_text(), ROOT / "figures" / profile))
        (ROOT / "docs" / "evidence.md").write_text(evidence_page())


def figures_page(profile: str) -> Path:
    """figures/ belongs to the embedded profile: others draw pictures that may not be passed on."""
    return ROOT / "figures" if profile == "embedded" else ROOT / "build" / profile / "figures"


def ready(sources: list[Path], profile: str) -> list[Path]:
    """The notebooks that lack no data set and no model. What the others lack is written to
    build/<profile>/missing.txt, which is only there where something is missing."""
    from needs import missing, needs, page

    asked = {s.stem: needs(defaults(s) | profile_parameters(s, profile)) for s in sources}
    lacking = missing(asked)
    file = ROOT / "build" / profile / "missing.txt"
    file.unlink(missing_ok=True)
    if lacking:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(profile, asked, lacking), encoding="utf-8")
    return [s for s in sources if not lacking.keys() & set(asked[s.stem])]


def defaults(source: Path) -> dict:
    found = papermill.inspect_notebook(str(source))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def prepare() -> None:
    from xai_utils.data import DataMissing, grounds, load_dataset
    from xai_utils.models.embedded import class_embeddings

    class_embeddings()
    photos = len(load_dataset("photos"))
    try:
        known, novel = load_dataset("stamps"), load_dataset("stamps", split="novel")
        print(
            f"data: {len(known) + len(novel)} stamps ({len(novel)} of them novel), {photos} photos"
        )
    except DataMissing as error:
        print(f"data: {photos} photos only. {error}")
    try:
        print(f"data: {len(grounds.parts())} grounds for scenes")
    except DataMissing as error:
        print(f"data: no scenes. {error}")


def run_notebook(source: Path, target: Path, profile: str, given: dict) -> None:
    """Run `source` with the parameters of `profile`. `target` and the figures appear only when
    every cell has run; until then those of the last run stay."""
    parameters = profile_parameters(source, profile) | given
    own = profile == "embedded" and not given
    figures = ROOT / "figures" / profile if own else target.parent / "figures"
    fresh = target.with_suffix(".part.figures")
    shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
    start = time.time()
    print(f"{source.name} ...", end="" if sys.stdout.isatty() else "\n", flush=True)
    try:
        execute(source, target, parameters, fresh)
        replace_figures(fresh, figures, source)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    print(f"{source.name}: {time.time() - start:.0f} s", flush=True)


def profile_parameters(source: Path, profile: str) -> dict:
    """The yaml of this notebook in profiles/<profile>/. embedded, the notebooks' own defaults, has
    none. No yaml and keys that the notebook does not know are an error."""
    if profile == "embedded":
        return {}
    file = ROOT / "profiles" / profile / f"{source.stem}.yaml"
    if not file.is_file():
        raise ValueError(f"{source.name} is not in profile {profile!r}: there is no {file}")
    parameters = yaml.safe_load(file.read_text()) or {}
    if not isinstance(parameters, dict):
        raise ValueError(f"{file} must hold one `name: value` a line")
    check_parameters(source, parameters)
    return parameters


def check_parameters(source: Path, parameters: dict) -> None:
    known = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{source.name} has no parameter {', '.join(unknown)}: it has {', '.join(known)}"
        )


def execute(source: Path, target: Path, parameters: dict, figures: Path | None) -> None:
    check_parameters(source, parameters)
    part = target.with_suffix(".part.ipynb")
    target.unlink(missing_ok=True)
    for folder in filter(None, (target.parent, figures)):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ["XAI_FIGURES"] = str(figures.resolve()) if figures else ""
    os.environ["XAI_NOTEBOOK"] = source.stem
    papermill.execute_notebook(
        source,
        part,
        parameters,
        cwd=source.parent,
        kernel_name="python3",
        progress_bar=sys.stderr.isatty(),
        log_output=False,
    )
    part.rename(target)


def replace_figures(fresh: Path, folder: Path, source: Path) -> None:
    """Put a notebook's new figures, notes and tables in the place of those of its last run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{source.stem.split('_')[0]}-*"):
        old.unlink()
    for file in fresh.iterdir():
        shutil.move(file, folder / file.name)


def refresh(source: Path) -> None:
    """Run a notebook with its own defaults and keep its outputs, without papermill's notes of the
    run."""
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch) / source.name
        start = time.time()
        execute(source, done, {}, None)
        notebook = nbformat.read(done, as_version=4)
    notebook.metadata = {
        k: notebook.metadata[k] for k in ("kernelspec", "language_info") if k in notebook.metadata
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {"tags": tags} if (tags := cell.metadata.get("tags")) else {}
    nbformat.write(notebook, source)
    print(
        f"{source.name}: {time.time() - start:.0f} s, {source.stat().st_size // 1000} KB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
