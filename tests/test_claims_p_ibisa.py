import numpy as np
import pandas as pd
import pytest

from xai_utils.papers import FAILS, HOLDS, OPEN
from xai_utils.papers.claims.p_ibisa import (
    p_ibisa_07,
    p_ibisa_18,
    p_ibisa_19,
    p_ibisa_23,
    p_ibisa_30,
)


def rows(values: dict, metric: str, n: int = 12, model: str = "m") -> pd.DataFrame:
    """Rows of `score` with given means, which the samples scatter about by a shared amount."""
    shared = np.random.default_rng(0).normal(size=n)
    lines = [
        dict(dataset="d", model=model, sample=str(i), method=k, metric=metric, value=v + shared[i])
        for k, v in values.items()
        for i in range(n)
    ]
    return pd.DataFrame(lines)


def cells(own: float, **options) -> pd.DataFrame:
    """P-IBISA's MoRF and LeRF among three methods at 0.2, 0.4 and 0.6, of which LeRF likes high."""
    rivals = {"rise": 0.2, "iba": 0.4, "chefer": 0.6}
    morf = rows(rivals | {"p-ibisa": own, "random": -1.0}, "morf", **options)
    lerf = rows(rivals | {"p-ibisa": 0.8 - own, "random": 1.0}, "lerf", **options)
    return pd.concat([morf, lerf])


def test_07_counts_cells_where_p_ibisa_is_first_or_second():
    assert p_ibisa_07(cells(0.3)).outcome == HOLDS  # second in both; random is no rival
    assert p_ibisa_07(cells(0.1)).outcome == HOLDS
    assert p_ibisa_07(cells(0.5)).outcome == FAILS
    assert p_ibisa_07(cells(0.1, n=5)).outcome == OPEN
    two = pd.concat([cells(0.5), cells(0.1, model="other")])
    assert p_ibisa_07(two).outcome == HOLDS  # half of the cells
    assert list(p_ibisa_07(two).evidence["rank"]) == [3, 3, 1, 1]
    even = p_ibisa_07(cells(0.4))  # no lead on the next, one that is better
    assert even.outcome == OPEN
    assert "m morf: 2 of 4, not certain" in even.why


@pytest.mark.parametrize(
    ("p_ibisa", "ibisa", "outcome"), [(9, 0, HOLDS), (0, 9, FAILS), (4, 4, OPEN)]
)
def test_18_is_the_difference_of_two_rates(p_ibisa, ibisa, outcome):
    table = pd.DataFrame(dict(rests_on=[0] * 12, p_ibisa=0, ibisa=0))
    table.loc[: p_ibisa - 1, "p_ibisa"] = 1
    table.loc[12 - ibisa :, "ibisa"] = 1
    assert p_ibisa_18(table).outcome == outcome
    assert f"P-IBISA {p_ibisa / 12:.0%}" in p_ibisa_18(table).why


def test_19_is_the_sign_of_a_mean_and_says_where_there_is_nothing_to_see():
    values = np.linspace(0.5, 1, 8)
    assert p_ibisa_19(values).outcome == HOLDS
    assert p_ibisa_19(-values).outcome == FAILS
    assert p_ibisa_19(values - values.mean()).outcome == OPEN
    assert p_ibisa_19(values[:5]).outcome == OPEN
    assert "no scene" in p_ibisa_19([]).why


def test_23_allows_a_tenth_of_the_best_fixed_value():
    fixed = {"beta=1": 4.0, "beta=10": 5.0}
    assert p_ibisa_23(rows(fixed | {"p-ibisa": 4.3}, "morf")).outcome == HOLDS
    assert p_ibisa_23(rows(fixed | {"p-ibisa": 4.6}, "morf")).outcome == FAILS
    assert p_ibisa_23(rows(fixed | {"p-ibisa": 3.0}, "morf")).outcome == FAILS  # nor much better
    found = p_ibisa_23(rows(fixed | {"p-ibisa": 4.3}, "morf", n=3))
    assert found.outcome == OPEN
    assert found.evidence.fixed.item() == "beta=1"


def test_30_wants_every_patch_and_every_kind():
    good = pd.DataFrame({"p-ibisa": np.linspace(0.5, 0.8, 8), "random": 0.2})
    bad = pd.DataFrame({"p-ibisa": 0.2, "random": np.linspace(0.5, 0.8, 8)})
    assert p_ibisa_30([1, 1], {"CNN": good, "ViT": good}).outcome == HOLDS
    assert p_ibisa_30([1, 0], {"CNN": good, "ViT": good}).outcome == FAILS
    assert p_ibisa_30([1, 1], {"CNN": good, "ViT": bad}).outcome == FAILS
    assert p_ibisa_30([1, 1], {"CNN": good, "ViT": good[:4]}).outcome == OPEN
