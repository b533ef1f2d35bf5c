"""Evidence: the rows of a study, kept in evidence/<profile>/<study>.parquet with what made them.

Rows are computed once, in pieces that survive whatever stops the run, and verified ever after:
`Evidence.check` computes random ones again.
"""

import hashlib
import io
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..checks import check_choice
from ..data import DataMissing
from ..keys import model_key
from ..models import load_model
from .base import PROFILES, Judged, Part, Study
from .tolerance import AMPLIFIED, COLUMNS, ELSEWHERE, SAME, agree, differing

FOLDER = Path(__file__).parents[2] / "evidence"
SCRATCH = Path(__file__).parents[2] / "build" / "evidence"


class EvidenceMissing(FileNotFoundError):
    """A study has no evidence for a profile yet."""


@dataclass(frozen=True)
class Evidence:
    """study, profile; rows: of all parts, a part's name in the column `part`; made: part's name ->
    declared, source, date, seconds, versions, machine."""

    study: Study
    profile: str
    rows: pd.DataFrame
    made: dict[str, dict]

    def part(self, name: str) -> pd.DataFrame:
        """The rows of one part."""
        check_choice("part", name, tuple(self.made))
        return self.rows[self.rows.part == name]

    def missing(self) -> list[str]:
        """The names of the study's parts that have not been computed."""
        return [p.name for p in self.study.parts(self.profile) if p.name not in self.made]

    def check(self, k: int = 1, seed: int = 0, parts: Sequence[str] = ()) -> pd.DataFrame:
        """Compute k random cases again: one row for each number, with the columns part, unit, what,
        kept, now, agrees, yes_no (`tolerance.agree` says whether all is well). A case is a sample
        with a method, or a unit of a part that measures something else; `parts` narrows the choice.
        A case whose data are not on this machine is passed over."""
        known = {part.name: part for part in self.study.parts(self.profile)}
        names = sorted(parts or self.made.keys() & known.keys())
        rng, found = np.random.default_rng(seed), [pd.DataFrame(columns=COLUMNS)]
        for name in rng.choice(names, k):
            part, kept = known[str(name)], self.part(str(name))
            rows = part.checkable(kept)
            row = rows.iloc[rng.integers(len(rows))]
            try:
                now = part.again(row)
            except DataMissing:
                continue
            found.append(differing(part.name, kept, now, self.within(part, row)))
        return pd.concat(found, ignore_index=True).astype({"agrees": bool, "yes_no": bool})

    def within(self, part: Part, row: pd.Series) -> float:
        """The largest difference that a check of this row lets pass, relative to a column's
        spread."""
        made = self.made[part.name]
        if made["machine"] == machine() and made["versions"] == versions():
            return SAME
        return AMPLIFIED if part.amplifies(row) else ELSEWHERE

    def told(self, checked: pd.DataFrame | None = None) -> str:
        """How many units, when they were computed, and what a check of them found."""
        counts = self.rows.groupby("part", sort=False).unit.nunique()
        dates = sorted({made["date"] for made in self.made.values()})
        told = ", ".join(f"{name}: n = {n}" for name, n in counts.items())
        told = f"{self.study.name} ({told}), computed {' to '.join(dates)}"
        if checked is None:
            return told
        count = len(checked.drop_duplicates(["part", "unit"]))
        cases, agrees = ("case", "agrees") if count == 1 else ("cases", "agree")
        outcome = agrees if agree(checked) else "DIFFER"
        return f"{told}; {count} {cases} computed again now: {outcome}"


def file_of(study: Study, profile: str) -> Path:
    return FOLDER / profile / f"{study.name}.parquet"


def load(study: Study, profile: str = "embedded") -> Evidence:
    """The evidence of a study. Raises EvidenceMissing where there is none yet."""
    check_choice("profile", profile, PROFILES)
    file = file_of(study, profile)
    if not file.exists():
        raise EvidenceMissing(
            f"no evidence of {study.name} for profile {profile}: {file} is not there; compute it"
            f" with: make evidence STUDY={study.name} PROFILE={profile}"
        )
    table = pq.read_table(file)
    made = json.loads(table.schema.metadata[b"made"])
    return Evidence(study, profile, table.to_pandas(), made)


def compute(
    study: Study, profile: str, client=None, *, anew: bool = False, scratch: Path = SCRATCH
) -> list[str]:
    """Compute the parts that are missing or stale and write the file anew after each; the names of
    those that were computed. A part whose source has changed is not stale where a check agrees.

    client   a dask.distributed Client, whose workers share the work
    anew     all parts, whatever is kept
    scratch  folder for the pieces of parts under way, which a stopped run goes on from
    """
    known = load(study, profile) if file_of(study, profile).exists() and not anew else None
    kept = dict(known.made) if known else {}
    frames = {name: known.part(name) for name in kept}
    parts, done = study.parts(profile), []
    for part in parts:
        source = source_of(part)
        made = kept.get(part.name)
        if made and made["source"] != source and made["declared"] == part.declared():
            if agree(known.check(3, parts=[part.name])):
                made = kept[part.name] = made | dict(source=source)
                save(study, profile, frames, kept)
        if made and made["source"] == source:
            continue
        start = time.time()
        rows = part.compute(scratch / profile / study.name / part.name, client)
        frames[part.name] = rows.assign(part=part.name)
        kept[part.name] = provenance(part, source, time.time() - start)
        save(study, profile, frames, kept)
        done.append(part.name)
    return done


def save(study: Study, profile: str, frames: dict[str, pd.DataFrame], made: dict) -> None:
    """Write the file whole, in the order of the study's parts; parts that it has no more go."""
    names = [part.name for part in study.parts(profile) if part.name in frames]
    rows = pd.concat([frames[name] for name in names], ignore_index=True)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    told = json.dumps({name: made[name] for name in names}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"made": told})
    file = file_of(study, profile)
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    fresh = file.with_suffix(".part")
    fresh.write_bytes(buffer.getvalue())
    os.replace(fresh, file)


def source_of(part: Part) -> str:
    """SHA-256 of all that the rows of a part follow from beside the data."""
    models = {part.model} if isinstance(part, Judged) else set()
    keys = [model_key(load_model(name)) for name in sorted(models)]
    told = json.dumps([part.declared(), part.described(), keys])
    return hashlib.sha256(told.encode()).hexdigest()


def provenance(part: Part, source: str, seconds: float) -> dict:
    return dict(
        declared=part.declared(),
        source=source,
        date=date.today().isoformat(),
        seconds=round(seconds),
        versions=versions(),
        machine=machine(),
    )


def versions() -> dict[str, str]:
    return dict(python=platform.python_version(), torch=torch.__version__)


def machine() -> str:
    """The processor and its instructions, or the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        text = Path("/proc/cpuinfo").read_text()
        line = next(line for line in text.splitlines() if line.startswith("model name"))
        name = line.partition(":")[2].strip()
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
