"""index.html: a profile's figures and tables by paper; claims.html: every claim and its verdict,
which open from disk; and the same claims in docs/papers.md. What decides a claim is told by its
function's docstring."""

import csv
import html
import inspect
import json
from importlib import import_module
from pathlib import Path

from xai_utils.papers import (
    EQUAL,
    FAILS,
    HOLDS,
    OPEN,
    PAPERS,
    UNTESTABLE,
    claims,
    function_of,
    judged,
)
from xai_utils.papers.statistics import described

BLOCKS = {
    "0": "The kit",
    "1": "P-IBISA",
    "2": "M2IB",
    "3": "NIB",
    "4": "AdaIB",
    "5": "AHA (Learn to Rank)",
    "6": "Across papers",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; color: #222 }
figure { margin: 2rem 0 } img { max-width: 100% } figcaption { color: #444 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px;
  display: block; overflow-x: auto }
.holds { color: #0a6b3d } .fails { color: #a32a00 } .open { color: #777 }
summary { cursor: pointer }
td:first-child { white-space: nowrap }
td, th { vertical-align: top; padding: .25rem .7rem; border-bottom: 1px solid #ddd;
  text-align: left }
th { border-bottom: 2px solid #888 }
nav a { margin-right: 1rem } small { color: #666 }
"""


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
    (figures / "claims.html").write_text(claims_page(folder, profile), encoding="utf-8")
    target = figures / "index.html"
    intro = (
        "Drawn by <code>make reproduce</code>. Under every figure and table: the notebook it comes"
        " from."
    )
    nav = f'<nav><a href="claims.html">Claims and verdicts</a> {links}</nav>'
    target.write_text(
        page("Visual attribution, reproduced", intro, f"{nav}\n{sections}"), encoding="utf-8"
    )
    return target


def page(title: str, intro: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{intro}</p>\n{body}\n</html>\n"
    )


def found(folder: Path, profile: str) -> dict[str, dict]:
    """Claim -> its verdict: from the profile's evidence, else as a run has noted it down in the
    folder."""
    notes = [json.loads(f.read_text()) for f in sorted(folder.glob("*-claim-*.json"))]
    return {note["claim"]: note for note in notes} | {
        claim: v.noted() for claim, v in judged(profile).items()
    }


def preface(paper: str) -> str:
    """How the paper's claims are judged: the docstring of its module, without the first line."""
    module = import_module(f"xai_utils.papers.claims.{paper.replace('-', '_')}")
    rest = inspect.getdoc(module).split("\n\n")[1:]
    return " ".join(" ".join(rest).split())


def decided_by(claim: str) -> str:
    """The first paragraph of the docstring of the claim's function."""
    return " ".join(inspect.getdoc(function_of(claim)).split("\n\n")[0].split())


def claims_page(folder: Path, profile: str) -> str:
    """Every claim of the five papers, with the profile's verdict where its run has tested it."""
    verdicts = found(folder, profile)
    parts = []
    for paper in PAPERS:
        lines = "\n".join(
            claim_row(row, verdicts.get(row.id), profile)
            for row in claims().query("paper == @paper").itertuples()
        )
        parts.append(
            f"<h2>{paper}</h2>\n<p>{html.escape(preface(paper))}</p>\n<table><tr><th>claim</th>"
            f"<th>says</th><th>decided by</th><th>verdict</th></tr>\n{lines}</table>"
        )
    outcomes = [note["outcome"] for note in verdicts.values()]
    counts = ", ".join(
        f"{outcomes.count(o)} “{o}”" for o in (HOLDS, FAILS, EQUAL, OPEN, UNTESTABLE)
    )
    intro = (
        f"{len(claims())} claims; verdicts so far: {counts}. Differences stand with their 95 %"
        " interval and n, the pictures that they rest on. A claim holds where every comparison lies"
        " where it says, with its whole interval; it does not where one lies on the other side, by"
        " Holm's correction for the number of comparisons. Fewer than six pictures decide nothing."
        ' <a href="index.html">Figures and tables</a>'
    )
    return page("Claims and verdicts", intro, "\n".join(parts))


def claim_row(row, note: dict | None, profile: str) -> str:
    if note is None:
        verdict = f'<span class="open">not tested yet ({html.escape(row.notebook)})</span>'
    else:
        kind = {HOLDS: "holds", FAILS: "fails"}.get(note["outcome"], "open")
        lines = "".join(f"<li>{html.escape(comparison(e))}</li>" for e in note["evidence"])
        more = (
            f"<details><summary>{html.escape(note['why'])}</summary><ul>{lines}</ul></details>"
            if lines
            else html.escape(note["why"])
        )
        verdict = (
            f'<b class="{kind}">{html.escape(note["outcome"])}</b>'
            f" <small>({profile})</small><br>{more}"
        )
    where = row.where if row.author == row.paper else f"{row.where}; {row.author}"
    return (
        f"<tr><td>{row.id}</td><td>{html.escape(row.claim)}"
        f" <small>{html.escape(where)}</small></td><td>{html.escape(decided_by(row.id))}</td>"
        f"<td>{verdict}</td></tr>"
    )


def comparison(line: dict) -> str:
    """A line of the evidence: the numbers, and what they say for the claim."""
    known = {k: float("nan") if v is None else v for k, v in line.items()}
    outcome = "as claimed" if line["holds"] else "against it" if line["opposite"] else "open"
    chance = f", p = {line['p']:.2g}" if line["opposite"] and line["p"] is not None else ""
    return f"{described(known)}: {outcome}{chance}"


MARKS = "<!-- claims: written by `make reproduce` -->", "<!-- end of claims -->"


def with_claims(text: str, folder: Path) -> str:
    """docs/papers.md with its table of claims drawn anew, verdicts from the run noted there."""
    notes, parts = found(folder, "embedded"), []
    for paper in PAPERS:
        rows = ["| claim | decided by | here |", "|---|---|---|"]
        for row in claims().query("paper == @paper").itertuples():
            by = "" if row.author == row.paper else f" ({row.author})"
            here = notes[row.id]["outcome"] if row.id in notes else "not tested yet"
            rows.append(f"| {row.id}{by} | {decided_by(row.id).replace('|', '/')} | {here} |")
        parts.append("\n".join([f"### {paper}", preface(paper), "", *rows]))
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return before + MARKS[0] + "\n" + "\n\n".join(parts) + "\n" + MARKS[1] + after


def show(figures: Path, folder: Path, name: str, note: dict) -> str:
    notebooks = ".." if folder == figures else "../notebooks"
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
