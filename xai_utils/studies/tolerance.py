"""How much a value of the evidence may differ when it is computed again.

Where the same processor and the same versions made it, not at all: methods draw their randomness
from the seed, so that only rounding in the last digits is left. Elsewhere another processor rounds
in another way. `python benchmarks/rounding.py 4` measures what that amounts to, AVX-512 against
AVX2: at most 0.007 of a metric's spread, but for P-IBISA, whose fifteen steps of Adam with sampled
starts make up to 0.1 of it. A value of yes or no could flip; none did.
"""

import math

import pandas as pd

from ..stats import choices

KNOWN_BY = ["sample", "method", "metric"]  # a row of `evaluate`
COMPARED = ["value", "forwards", "backwards"]
COLUMNS = ["part", "unit", "what", "kept", "now", "agrees", "yes_no"]
SAME = 1e-5  # relative to the column's spread
ELSEWHERE = 0.02
AMPLIFIED = 0.2  # elsewhere, where rounding is made more of
FLIPS = 0.1  # of the values of yes or no, and one more


def differing(part: str, whole: pd.DataFrame, now: pd.DataFrame, within: float) -> pd.DataFrame:
    """One row for each number of a case, with COLUMNS.

    whole   all rows of the part as they were kept
    now     those of one case, computed again
    within  the largest difference, relative to the spread of all kept values of the same metric or
            column
    """
    unit = now.unit.iloc[0]
    kept = whole[whole.unit == unit]
    if "metric" in now:
        kept = kept[kept.method.isin(now.method) & kept.metric.isin(now.metric)]
        of = {m: rows.value for m, rows in whole.groupby("metric")}
        kept, now = (t.set_index(KNOWN_BY)[COMPARED] for t in (kept, now))
    else:
        of = {column: whole[column] for column in now}
        kept, now = (t.reset_index(drop=True) for t in (kept[now.columns], now))
    lines = []
    for key in kept.index.union(now.index, sort=False):
        for column in now:
            a, b = (t.at[key, column] if key in t.index else None for t in (kept, now))
            what = f"{' '.join(key)} {column}" if isinstance(key, tuple) else f"{key} {column}"
            spread = of[key[2]] if column == "value" and isinstance(key, tuple) else of.get(column)
            lines.append((part, unit, what, a, b, *compared(a, b, spread, within)))
    return pd.DataFrame(lines, columns=COLUMNS)


def compared(a, b, values, within: float) -> tuple[bool, bool]:
    """(whether a and b agree, whether they are of yes and no)."""
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b))
    if not numbers:
        return bool(a == b), isinstance(a, bool)
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True, False
    if values is None or not math.isfinite(a - b):
        return False, False
    finite = values[values.abs() < math.inf]
    allowed = within * float(finite.max() - finite.min())
    return abs(a - b) <= allowed, within > SAME and bool(choices(finite.to_numpy()))


def agree(checked: pd.DataFrame) -> bool:
    """Whether a check found the same: all values agree, but for a few of yes or no that flipped,
    which only differ where the machine does."""
    apart = checked[~checked.agrees]
    flips, asked = int(apart.yes_no.sum()), int(checked.yes_no.sum())
    return len(apart) == flips and flips <= (1 + FLIPS * asked if asked else 0)
