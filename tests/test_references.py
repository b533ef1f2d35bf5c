"""Every work that is cited by name and year stands in docs/references.bib, and each entry there
has what a reader needs to find it."""

import re

import nbformat
import pytest
from test_repo import ROOT

from tools.references import cell_of, citations, entries, keys_for, printed

BIB = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
ENTRIES = entries()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOT_AUTHORS = {"AAAI", "CVPR", "ICCV", "COCO", "ILSVRC", "ICLR", "NeurIPS"}


def texts():
    for folder, kinds in {"xai_utils": ("py", "md"), "training": ("py",), "docs": ("md",)}.items():
        for kind in kinds:
            for file in sorted((ROOT / folder).rglob(f"*.{kind}")):
                yield file.name, file.read_text(encoding="utf-8")
    yield "README.md", (ROOT / "README.md").read_text(encoding="utf-8")
    for file in NOTEBOOKS:
        cells = nbformat.read(file, as_version=4).cells
        yield file.name, "\n".join(c.source for c in cells if c.cell_type == "markdown")


def cited():
    for where, text in texts():
        for words, names, year in citations(text):
            if people := names - NOT_AUTHORS:
                yield f"{where}: {words}", people, year


def test_what_is_cited_can_be_found():
    found = list(cited())
    assert len(found) > 60
    assert not [words for words, people, year in found if not keys_for(people, year, ENTRIES)]


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_whole(key):
    fields = ENTRIES[key].keys()
    assert all(ENTRIES[key].values())
    assert {"title", "year"} <= fields and fields & {"author", "note"}
    assert fields & {"booktitle", "journal", "url"}
    assert len(re.findall(rf"@\w+{{{key},", BIB)) == 1


def test_every_entry_is_cited_but_the_papers_whose_authors_are_not_named():
    used = {key for _, people, year in cited() for key in keys_for(people, year, ENTRIES)}
    assert ENTRIES.keys() - used == {"pibisa2025", "adaib2025"}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_ends_in_its_references(file):
    notebook = nbformat.read(file, as_version=4)
    told = cell_of(file.stem, notebook, ENTRIES)
    assert notebook.cells[-1].source == told, "run python -m tools.references"


def test_a_work_is_printed_as_a_reader_looks_for_it():
    assert printed(ENTRIES["leem2024"]) == (
        "Leem, S. and Seo, H. (2024). Attention Guided CAM: Visual Explanations of Vision"
        " Transformer Guided by Self-Attention. AAAI Conference on Artificial Intelligence."
    )
    assert printed(ENTRIES["schulz2020"]).startswith(
        "Schulz, K., Sixt, L., Tombari, F. and Landgraf"
    )
    assert printed(ENTRIES["radford2021"]).startswith("Radford, A. et al. (2021). Learning")
