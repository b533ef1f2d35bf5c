"""figures/index.html: every figure and table by paper; figures/claims.html: every claim and its
verdict. Both open from disk."""

import csv
import html
import json
from pathlib import Path

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, claims

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


def write_index(figures: Path) -> Path:
    """Write index.html from the .json notes that lie beside each figure and table."""
    body = []
    profiles = sorted(p for p in figures.iterdir() if p.is_dir()) if figures.is_dir() else []
    for profile in profiles:
        notes = [(f.stem, json.loads(f.read_text())) for f in sorted(profile.glob("*.json"))]
        for digit, title in BLOCKS.items():
            block = [
                show(profile, name, note)
                for name, note in notes
                if name.startswith(digit) and note["kind"] != "verdict"
            ]
            if block:
                anchor = f"{profile.name}-{digit}"
                body.append((anchor, f"{title} ({profile.name})", "\n".join(block)))
    links = " ".join(f'<a href="#{a}">{html.escape(t)}</a>' for a, t, _ in body)
    sections = "\n".join(f'<h2 id="{a}">{html.escape(t)}</h2>\n{b}' for a, t, b in body)
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "claims.html").write_text(claims_page(profiles), encoding="utf-8")
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


def claims_page(profiles: list[Path]) -> str:
    """Every claim of the five papers, with the verdict of each profile that has tested it."""
    notes = [
        (p.name, json.loads(f.read_text()))
        for p in profiles
        for f in sorted(p.glob("*-claim-*.json"))
    ]
    found = {(profile, note["claim"]): note for profile, note in notes}
    parts = []
    for paper, rows in claims().groupby("paper", sort=False):
        lines = "\n".join(
            claim_row(row, [(p.name, found.get((p.name, row.id))) for p in profiles])
            for row in rows.itertuples()
        )
        parts.append(
            f"<h2>{paper}</h2>\n<table><tr><th>claim</th><th>says</th><th>decided"
            f" by</th><th>verdict</th></tr>\n{lines}</table>"
        )
    outcomes = [note["outcome"] for _, note in notes]
    counts = ", ".join(f"{outcomes.count(o)} “{o}”" for o in (HOLDS, FAILS, OPEN, UNTESTABLE))
    intro = (
        f"{len(claims())} claims of the five papers; verdicts so far: {counts}. <a"
        ' href="index.html">Figures and tables</a>'
    )
    return page("Claims and verdicts", intro, "\n".join(parts))


def claim_row(row, verdicts: list[tuple[str, dict | None]]) -> str:
    cells = []
    for profile, note in verdicts:
        if note is None:
            continue
        kind = {HOLDS: "holds", FAILS: "fails"}.get(note["outcome"], "open")
        lines = "".join(f"<li>{html.escape(evidence(e))}</li>" for e in note["evidence"])
        more = (
            f"<details><summary>{html.escape(note['why'])}</summary><ul>{lines}</ul></details>"
            if lines
            else html.escape(note["why"])
        )
        cells.append(
            f'<b class="{kind}">{html.escape(note["outcome"])}</b>'
            f" <small>({profile})</small><br>{more}"
        )
    verdict = (
        "<br>".join(cells)
        or f'<span class="open">not tested yet ({html.escape(row.notebook)})</span>'
    )
    said = html.escape(row.rule or row.decision)
    return (
        f"<tr><td>{row.id}</td><td>{html.escape(row.claim)}"
        f" <small>{html.escape(row.where)}</small></td><td>{said}</td><td>{verdict}</td></tr>"
    )


def evidence(e: dict) -> str:
    """A line of what decided a claim: a comparison of its rule, or, where a notebook decided it in
    code, a row of its table."""
    if not {"dataset", "margin"} <= e.keys():
        return ", ".join(
            f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in e.items()
        )
    margin = f" by {e['margin']:g}" if e["margin"] else ""
    return (
        f"{e['dataset']}, {e['model']}, {e['modality']} {e['metric']}: {e['left']} {e['op']}"
        f" {e['right']}{margin}: difference {e['difference']:.3g} [{e['low']:.3g},"
        f" {e['high']:.3g}], n={e['n']}:"
        f" {'yes' if e['holds'] else 'no' if e['opposite'] else 'open'}"
    )


def show(profile: Path, name: str, note: dict) -> str:
    source = (
        f'<a href="../notebooks/{note["notebook"]}.ipynb">{note["notebook"]}</a>'
        if note.get("notebook")
        else ""
    )
    caption = f"<figcaption>{html.escape(note['caption'])} <small>{source}</small></figcaption>"
    if note["kind"] == "figure":
        inner = (
            f'<img src="{profile.name}/{name}.png" alt="{html.escape(note["alt"], quote=True)}">'
        )
    else:
        with (profile / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        lines = [table_row(head, "th"), *(table_row(row, "td") for row in rows)]
        inner = f"<table>{''.join(lines)}</table>"
    return f"<figure>{inner}{caption}</figure>"


def table_row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"
