"""index.html: how the claims stand, and a profile's figures and tables by paper."""

import csv
import html
import json
from pathlib import Path

from claim_pages import claims_page, count_page, found
from page import page

BLOCKS = {
    "0": "The kit",
    "1": "P-IBISA",
    "2": "M2IB",
    "3": "NIB",
    "4": "AdaIB",
    "5": "AHA (Learn to Rank)",
    "6": "Across papers",
}


def write_index(figures: Path, profile: str = "embedded") -> Path:
    """Write index.html and claims.html into `figures` from the .json notes that lie beside each
    figure and table: the embedded profile's in figures/embedded, another one's in `figures`."""
    folder = figures / profile if profile == "embedded" else figures
    notes = [(f.stem, json.loads(f.read_text())) for f in sorted(folder.glob("*.json"))]
    body = []
    for digit, title in BLOCKS.items():
        block = [
            show(figures, folder, name, note)
            for name, note in notes
            if name.startswith(digit) and note["kind"] != "verdict"
        ]
        if block:
            body.append((f"{profile}-{digit}", f"{title} ({profile})", "\n".join(block)))
    links = " ".join(f'<a href="#{a}">{html.escape(t)}</a>' for a, t, _ in body)
    sections = "\n".join(f'<h2 id="{a}">{html.escape(t)}</h2>\n{b}' for a, t, b in body)
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "claims.html").write_text(
        claims_page(folder, profile, home(figures)), encoding="utf-8"
    )
    target = figures / "index.html"
    intro = (
        "Drawn by <code>make reproduce</code>. Under every figure and table: the notebook it comes"
        " from."
    )
    nav = f'<nav><a href="claims.html">Claims and verdicts</a> {links}</nav>'
    state = f"<h2>How the claims stand</h2>\n{count_page(found(folder, profile), 'claims.html')}"
    target.write_text(
        page("Visual attribution, reproduced", intro, f"{nav}\n{state}\n{sections}"),
        encoding="utf-8",
    )
    return target


def home(figures: Path) -> str:
    """The way from a page in `figures` to the repository: figures/, or build/<profile>/figures/."""
    return "../../.." if figures.parent.parent.name == "build" else ".."


def show(figures: Path, folder: Path, name: str, note: dict) -> str:
    notebooks = ".." if folder == figures else f"{home(figures)}/notebooks"
    source = (
        f'<a href="{notebooks}/{note["notebook"]}.ipynb">{note["notebook"]}</a>'
        if note.get("notebook")
        else ""
    )
    caption = f"<figcaption>{html.escape(note['caption'])} <small>{source}</small></figcaption>"
    if note["kind"] == "figure":
        file = note["file"]
        picture = (folder / file).relative_to(figures).as_posix()
        inner = f'<img src="{picture}" alt="{html.escape(note["alt"], quote=True)}">'
    else:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        lines = [table_row(head, "th"), *(table_row(row, "td") for row in rows)]
        inner = f"<table>{''.join(lines)}</table>"
    return f"<figure>{inner}{caption}</figure>"


def table_row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"
