"""figures/index.html: a page that opens from disk and shows every figure and table by paper."""

import csv
import html
import json
from pathlib import Path

BLOCKS = {
    "0": "The kit", "1": "P-IBISA", "2": "M2IB", "3": "NIB", "4": "AdaIB", "5": "AHA (Learn to Rank)", "6": "Across papers",
}  # fmt: skip
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
figure { margin: 2rem 0 } img { max-width: 100% } figcaption { color: #444 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; display: block; overflow-x: auto }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: left } th { border-bottom: 2px solid #888 }
nav a { margin-right: 1rem } small { color: #666 }
"""


def write_index(figures: Path) -> Path:
    """Write index.html from the .json notes that lie beside each figure and table."""
    body = []
    profiles = sorted(p for p in figures.iterdir() if p.is_dir()) if figures.is_dir() else []
    for profile in profiles:
        notes = [(f.stem, json.loads(f.read_text())) for f in sorted(profile.glob("*.json"))]
        for digit, title in BLOCKS.items():
            block = [show(profile, name, note) for name, note in notes if name.startswith(digit)]
            if block:
                anchor = f"{profile.name}-{digit}"
                body.append((anchor, f"{title} ({profile.name})", "\n".join(block)))
    links = " ".join(f'<a href="#{a}">{html.escape(t)}</a>' for a, t, _ in body)
    sections = "\n".join(f'<h2 id="{a}">{html.escape(t)}</h2>\n{b}' for a, t, b in body)
    page = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Visual attribution, reproduced</title>'
        f"<style>{STYLE}</style>\n<h1>Visual attribution, reproduced</h1>\n"
        f"<p>Drawn by <code>make reproduce</code>. Under every figure and table: the notebook it comes from.</p>\n"
        f"<nav>{links}</nav>\n{sections}\n</html>\n"
    )
    figures.mkdir(parents=True, exist_ok=True)
    target = figures / "index.html"
    target.write_text(page, encoding="utf-8")
    return target


def show(profile: Path, name: str, note: dict) -> str:
    source = f'<a href="../notebooks/{note["notebook"]}.ipynb">{note["notebook"]}</a>' if note.get("notebook") else ""
    caption = f"<figcaption>{html.escape(note['caption'])} <small>{source}</small></figcaption>"
    if note["kind"] == "figure":
        inner = f'<img src="{profile.name}/{name}.png" alt="{html.escape(note["alt"], quote=True)}">'
    else:
        with (profile / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        line = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"  # noqa: E731
        inner = f"<table>{line(head, 'th')}{''.join(line(r, 'td') for r in rows)}</table>"
    return f"<figure>{inner}{caption}</figure>"
