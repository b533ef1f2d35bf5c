"""docs/evidence.md: every study with what made its rows, and the means of what it compares; written
by `make reproduce` from the evidence alone."""

import pandas as pd

from xai_utils import studies
from xai_utils.papers import claims, function_of
from xai_utils.papers.tables import wide
from xai_utils.studies import EvidenceMissing, Judged

INTRO = """# Evidence

The rows behind the tables and verdicts, study by study: what was asked, what made the rows, and
their means with 95 % intervals. Written by `make reproduce` from `evidence/`; `make evidence-check`
computes random cases of it again. What a study declares stands in `xai_utils/studies/`. "Seconds"
are those of the run that made a part, on the machine that is named, beside other work at times.
"""


def evidence_page() -> str:
    parts = [INTRO]
    for profile in studies.PROFILES:
        for study in studies.STUDIES.values():
            if study.parts(profile):
                parts.append(of_study(study, profile))
    return "\n".join(filter(None, parts))


def of_study(study, profile: str) -> str:
    """A study's section; "" where it has no evidence."""
    try:
        evidence = studies.load(study.name, profile)
    except EvidenceMissing:
        return ""
    lines = [f"## {study.name} ({profile})", "", study.asks, f"Read by: {read_by(study.name)}.", ""]
    lines += ["| part | n | made by | date | machine | seconds |", "|---" * 6 + "|"]
    for name, made in evidence.made.items():
        declared = made["declared"]
        told = declared.get("measure") or f"{declared['model']} on {declared['samples']}"
        n = evidence.part(name).unit.nunique()
        where = f"{made['date']} | {made['machine']} | {made['seconds']}"
        lines.append(f"| {name} | {n} | `{told}` | {where} |")
    for part in study.parts(profile):
        if isinstance(part, Judged) and part.name in evidence.made:
            table = wide(evidence.part(part.name), ["method"], digits=3)
            lines += ["", f"{part.name}:", "", markdown(table)]
    return "\n".join([*lines, ""])


def read_by(name: str) -> str:
    """The claims that read a study."""
    found = [
        claim
        for claim in claims().index
        if name in getattr(function_of(claim), "reads", ((), None))[0]
    ]
    return ", ".join(found) or "no claim"


def markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
