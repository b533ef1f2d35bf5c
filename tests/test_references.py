"""Every work that is cited by name and year stands in docs/references.bib, and each entry there
has what a reader needs to find it."""

import re

import nbformat
import pytest
from test_repo import ROOT

BIB = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", BIB, re.S))
NAME = r"[A-ZÀ-Ž][\w-]+"
CITED = re.compile(rf"((?:{NAME}, )*{NAME}(?: and {NAME}| et al\.)?)(?:'s)?,? \(?((?:19|20)\d\d)\b")
NOT_AUTHORS = {"AAAI", "CVPR", "ICCV", "COCO", "ILSVRC", "ICLR"}


def texts():
    for folder, kinds in {"xai_utils": ("py", "md"), "training": ("py",), "docs": ("md",)}.items():
        for kind in kinds:
            for file in sorted((ROOT / folder).rglob(f"*.{kind}")):
                yield file.name, file.read_text(encoding="utf-8")
    yield "README.md", (ROOT / "README.md").read_text(encoding="utf-8")
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(file, as_version=4).cells
        yield file.name, "\n".join(c.source for c in cells if c.cell_type == "markdown")


def citations():
    for name, text in texts():
        for names, year in CITED.findall(" ".join(text.split())):
            people = set(re.findall(NAME, names)) - NOT_AUTHORS
            if people:
                yield name, names, people, year


def test_what_is_cited_can_be_found():
    found = list(citations())
    assert len(found) > 60
    keys = " ".join(ENTRIES)
    lacking = [
        f"{where}: {names} {year}"
        for where, names, people, year in found
        if not any(f"{p.lower()}{year}" in keys for p in people)
    ]
    assert not lacking


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_whole(key):
    fields = set(re.findall(r"^  (\w+) +=", ENTRIES[key], re.M))
    assert {"title", "year"} <= fields and fields & {"author", "note"}
    assert fields & {"booktitle", "journal", "url"}
    assert len(re.findall(rf"@\w+{{{key},", BIB)) == 1


def test_every_entry_is_cited_but_the_papers_whose_authors_are_not_named():
    used = " ".join(f"{p.lower()}{year}" for _, _, people, year in citations() for p in people)
    unused = {key for key in ENTRIES if re.match(r"[a-z]+\d{4}", key)[0] not in used}
    assert unused == {"pibisa2025", "adaib2025"}
