"""What the Makefile calls: prepare the data, run a notebook headless, refresh it in place, write
figures/index.html.

The Makefile runs this file as a script, so that a notebook starts without importing the package
here first.
"""

import argparse
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/runs.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare")
    commands.add_parser("index")
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
        help="one parameter; figures then lie beside TARGET, so that the profile's own stay",
    )
    commands.add_parser("refresh").add_argument("source", type=Path)
    args = parser.parse_args()
    os.environ["XAI_PROGRESS"] = "0"  # bars inside a notebook would be saved with it
    try:
        if args.command == "prepare":
            prepare()
        elif args.command == "index":
            index()
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


def index() -> None:
    """The pages of all figures and claims, and the claims in docs/papers.md."""
    from gallery import with_claims, write_index

    print(f"wrote {write_index(ROOT / 'figures')}")
    papers = ROOT / "docs" / "papers.md"
    papers.write_text(with_claims(papers.read_text(), ROOT / "figures" / "embedded"))


def prepare() -> None:
    from xai_utils.data import DataMissing, load_dataset
    from xai_utils.models.embedded import class_embeddings

    class_embeddings()
    try:
        known, novel = load_dataset("stamps"), load_dataset("stamps", split="novel")
        print(
            f"data: {len(known) + len(novel)} stamps ({len(novel)} of them novel),"
            f" {len(load_dataset('photos'))} photos"
        )
    except DataMissing as error:
        print(f"data: photos only. {error}")


def run_notebook(source: Path, target: Path, profile: str, given: dict) -> None:
    """Run `source` with the parameters of `profile`. `target` and the figures appear only when
    every cell has run; until then those of the last run stay."""
    parameters = profile_parameters(source, profile) | given
    figures = target.parent / "figures" if given else ROOT / "figures" / profile
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
    """The yaml of this notebook in profiles/<profile>/, empty where there is none. Keys it does not
    know are an error."""
    folder = ROOT / "profiles" / profile
    if profile != "embedded" and not folder.is_dir():
        raise ValueError(f"unknown profile {profile!r}: no folder {folder}")
    file = folder / f"{source.stem}.yaml"
    parameters = (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}
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
