"""claims.html: every claim with its verdict, numbers, code and notebook; the same claims in
docs/papers.md, and their count in README.md. What decides a claim is told by its function's
docstring."""

import html
import inspect
import json
from importlib import import_module
from pathlib import Path

from page import page

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

SCRIPT = """
const buttons = [...document.querySelectorAll(".filters button")];
const tables = [...document.querySelectorAll("section")];
function show(outcome, paper) {
  for (const b of buttons) b.setAttribute("aria-pressed", b.dataset.outcome === outcome);
  for (const row of document.querySelectorAll("tr[data-outcome]"))
    row.hidden = outcome !== "all" && row.dataset.outcome !== outcome;
  for (const part of tables) {
    const left = part.querySelector("tr[data-outcome]:not([hidden])");
    part.hidden = (paper && part.id !== paper) || !left;
  }
}
for (const b of buttons) b.onclick = () => { location.hash = b.dataset.outcome; };
window.onhashchange = () => {
  const [outcome, paper] = location.hash.slice(1).split("@");
  const known = buttons.some((b) => b.dataset.outcome === outcome);
  show(known ? outcome : "all", tables.some((part) => part.id === paper) ? paper : "");
};
window.onhashchange();
"""
KINDS = {HOLDS: "holds", FAILS: "fails", EQUAL: "equal", OPEN: "open", UNTESTABLE: "untestable"}
UNKNOWN = "unknown"  # no verdict yet


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


def counts(verdicts: dict[str, dict]) -> dict[str, dict[str, int]]:
    """Paper -> outcome -> how many of its claims; UNKNOWN: those without a verdict."""
    found = {paper: dict.fromkeys([*KINDS, UNKNOWN], 0) for paper in PAPERS}
    for row in claims().itertuples():
        found[row.paper][verdicts[row.id]["outcome"] if row.id in verdicts else UNKNOWN] += 1
    found["all"] = {k: sum(of[k] for of in found.values()) for k in found[PAPERS[0]]}
    return found


def count_page(verdicts: dict[str, dict], target: str) -> str:
    """The table of counts; each number leads to those claims."""
    found = counts(verdicts)
    names = [name for name in found["all"] if found["all"][name] or name in (HOLDS, FAILS)]
    head = "".join(f"<th>{html.escape(shown_as(name))}</th>" for name in names)
    lines = []
    for paper, of in found.items():
        of_one = "" if paper == "all" else f"@{paper}"
        cells = "".join(
            f'<td><a href="{target}#{KINDS.get(name, UNKNOWN)}{of_one}">{of[name]}</a></td>'
            for name in names
        )
        lines.append(f"<tr><td>{paper}</td>{cells}</tr>")
    return f'<table class="count"><tr><th>paper</th>{head}</tr>{"".join(lines)}</table>'


def shown_as(outcome: str) -> str:
    return "no verdict yet" if outcome == UNKNOWN else outcome


def count_table(verdicts: dict[str, dict]) -> str:
    """The table of counts in Markdown."""
    found = counts(verdicts)
    names = [name for name in found["all"] if name != UNKNOWN or found["all"][name]]
    lines = [f"| paper | {' | '.join(map(shown_as, names))} |", "|---" * (1 + len(names)) + "|"]
    lines += [
        f"| {paper} | {' | '.join(str(of[name]) for name in names)} |"
        for paper, of in found.items()
    ]
    return "\n".join(lines)


def claims_page(folder: Path, profile: str, home: str) -> str:
    """Every claim of the five papers, with the profile's verdict where it has been tested; `home`
    is the way from the page to the repository."""
    verdicts = found(folder, profile)
    parts = []
    for paper in PAPERS:
        lines = "\n".join(
            claim_row(row, verdicts.get(row.id), profile, home)
            for row in claims().query("paper == @paper").itertuples()
        )
        parts.append(
            f'<section id="{paper}"><h2>{paper}</h2>\n<p>{html.escape(preface(paper))}</p>\n'
            '<table class="claims"><tr><th>claim</th>'
            f"<th>says</th><th>decided by</th><th>verdict</th></tr>\n{lines}</table></section>"
        )
    filters = "".join(
        f'<button data-outcome="{KINDS.get(name, UNKNOWN)}" aria-pressed="false">'
        f"{html.escape(shown_as(name))}</button>"
        for name in [*KINDS, UNKNOWN]
    )
    intro = (
        "Differences stand with their 95 % interval and n, the pictures that they rest on. A claim"
        " holds where every comparison lies where it says, with its whole interval; it does not"
        " where one lies on the other side, by Holm's correction for the number of comparisons."
        " Fewer than six pictures decide nothing."
        ' <a href="index.html">Figures and tables</a>'
    )
    head = (
        f"{count_page(verdicts, '')}\n"
        f'<p class="filters">Show <button data-outcome="all" aria-pressed="true">all</button>'
        f"{filters}</p>"
    )
    body = "\n".join([head, *parts, f"<script>{SCRIPT}</script>"])
    return page("Claims and verdicts", intro, body)


def claim_row(row, note: dict | None, profile: str, home: str) -> str:
    kind = KINDS[note["outcome"]] if note else UNKNOWN
    verdict = f'<span class="open">not tested yet ({html.escape(row.notebook)})</span>'
    if note:
        lines = "".join(f"<li>{html.escape(comparison(e))}</li>" for e in note["evidence"])
        why = html.escape(note["why"])
        more = f"<details><summary>{why}</summary><ul>{lines}</ul></details>" if lines else why
        outcome = f'<b class="{kind}">{html.escape(note["outcome"])}</b>'
        verdict = f"{outcome} <small>({profile})</small><br>{more}"
    where = row.where if row.author == row.paper else f"{row.where}; {row.author}"
    return (
        f'<tr id="{row.id}" data-outcome="{kind}"><td>{row.id}</td><td>{html.escape(row.claim)}'
        f" <small>{html.escape(where)}</small></td><td>{html.escape(decided_by(row.id))}"
        f" <small>{sources(row, home)}</small></td><td>{verdict}</td></tr>"
    )


def sources(row, home: str) -> str:
    """Links to what decides the claim, to the studies that it reads, and to its notebook."""
    module = row.paper.replace("-", "_")
    names, _ = getattr(function_of(row.id), "reads", ((), None))
    links = [(f"xai_utils/papers/claims/{module}.py", "code")]
    links += [(f"xai_utils/studies/{module}.py", name) for name in names]
    links += [(f"notebooks/{row.notebook}.ipynb", row.notebook)]
    return ", ".join(f'<a href="{home}/{file}">{html.escape(text)}</a>' for file, text in links)


def comparison(line: dict) -> str:
    """A line of the evidence: the numbers, and what they say for the claim."""
    known = {k: float("nan") if v is None else v for k, v in line.items()}
    outcome = "as claimed" if line["holds"] else "against it" if line["opposite"] else "open"
    chance = f", p = {line['p']:.2g}" if line["opposite"] and line["p"] is not None else ""
    return f"{described(known)}: {outcome}{chance}"


MARKS = "<!-- claims: written by `make reproduce` -->", "<!-- end of claims -->"


COUNT = "<!-- count of claims: written by `make reproduce` -->", "<!-- end of count -->"


def with_count(text: str, folder: Path) -> str:
    """README.md with its table of how the claims stand drawn anew."""
    before, rest = text.split(COUNT[0])
    after = rest.split(COUNT[1])[1]
    table = count_table(found(folder, "embedded"))
    return f"{before}{COUNT[0]}\n{table}\n{COUNT[1]}{after}"


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
