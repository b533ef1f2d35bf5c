"""The last cell of every notebook: the works that it cites by name and year, and its paper, as
docs/references.bib has them.

    python -m tools.references     writes the cells anew; a test compares
"""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PAPERS = {"1": "pibisa2025", "2": "wang2023", "3": "zhu2025", "4": "adaib2025", "5": "schinagl2026"}
ALSO = {  # of notebooks that go through what others have made, without a citation each
    "60_metrics": "adebayo2018 petsiuk2018 samek2017 zhang2018",
    "61_baselines": "abnar2020 bousselham2024 chefer2021cvpr chefer2021iccv coelho2025 dong2019"
    " draelos2020 hesse2021 leem2024 lundberg2017 petsiuk2018 schulz2020 selvaraju2017 simonyan2014"
    " sundararajan2017 zhu2024",
}
HEADING = "## References"
NAME = r"[A-ZÀ-Ž][\w-]+"
CITED = re.compile(rf"((?:{NAME}, )*{NAME}(?: and {NAME}| et al\.)?)(?:'s)?,? \(?((?:19|20)\d\d)\b")
ACCENTS = {r"{\'e}": "é", r"{\"u}": "ü", r"{\'a}": "á", r"\&": "&"}


def main() -> None:
    known = entries()
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        text = cell_of(file.stem, notebook, known)
        last = notebook.cells[-1]
        if last.source.startswith(HEADING):
            last.source = text
        else:
            notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="references"))
        nbformat.write(notebook, file)


def entries() -> dict[str, dict[str, str]]:
    """Key -> field -> value."""
    text = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
    for code, letter in ACCENTS.items():
        text = text.replace(code, letter)
    found = {}
    for key, body in re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", text, re.S):
        fields = re.findall(r"(\w+) += \{(.*?)\}(?:,\n|$)", f"{body}\n".rstrip(), re.S)
        found[key] = {k: " ".join(re.sub(r"[{}]", "", v).split()) for k, v in fields}
    return found


def citations(text: str) -> list[tuple[str, set[str], str]]:
    """(as written, names, year) of every citation."""
    found = CITED.findall(" ".join(text.split()))
    return [(f"{names} {year}", set(re.findall(NAME, names)), year) for names, year in found]


def keys_for(names: set[str], year: str, known: dict) -> list[str]:
    wanted = {f"{name.lower()}{year}" for name in names}
    return [key for key in known if re.match(r"[a-z]+\d{4}", key)[0] in wanted]


def cell_of(stem: str, notebook, known: dict) -> str:
    """The references of a notebook, its own paper first, the others by their first author."""
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    texts = [text for text in texts if not text.startswith(HEADING)]
    cited = {
        key
        for _, names, year in citations("\n".join(texts))
        for key in keys_for(names, year, known)
    }
    cited |= set(ALSO.get(stem, "").split())
    own = [PAPERS[stem[0]]] if stem[0] in PAPERS else []
    lines = [f"- {printed(known[key])}" for key in [*own, *sorted(cited - set(own))]]
    every = "All works: [docs/references.bib](../docs/references.bib)."
    return "\n".join([HEADING, "", *lines, *([""] if lines else []), every])


def printed(entry: dict[str, str]) -> str:
    """Authors (year). Title. Where. Address."""
    where = entry.get("booktitle") or entry.get("journal") or ""
    note = entry.get("note", "").removeprefix("cited as")
    parts = [
        f"{people(entry['author'])} ({entry['year']})" if "author" in entry else "",
        entry["title"] if "author" in entry else f"{entry['title']} ({entry['year']})",
        where,
        note if not where else "",
    ]
    address = f" <{entry['url']}>" if "url" in entry else ""
    return ". ".join(filter(None, parts)) + "." + address


def people(authors: str) -> str:
    """Wang, Y., Rudner, T. G. J. and Wilson, A. G.; of more than four the first, et al."""
    names = [name for name in authors.split(" and ")]
    if len(names) > 4 or "others" in names:
        return f"{short(names[0])} et al."
    *first, last = map(short, names)
    return f"{', '.join(first)} and {last}" if first else last


def short(name: str) -> str:
    family, _, given = name.partition(", ")
    letters = " ".join(f"{part[0]}." for part in re.split(r"[ ]", given))
    return f"{family}, {letters}"


if __name__ == "__main__":
    main()
