import importlib
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from claim_pages import with_claims, with_count
from evidence_page import evidence_page
from gallery import write_index

from xai_utils.papers import (
    ENOUGH,
    FAILS,
    HOLDS,
    OPEN,
    PAPERS,
    UNTESTABLE,
    claims,
    compare,
    decide,
    function_of,
    published,
    verdict,
)
from xai_utils.papers.tables import beside, intervals, lead, wide
from xai_utils.studies import evidence


def table(
    values: dict, metric="mask-contrast", n=40, spread=0.1, modality="image", dataset="scenes"
):
    """What `evaluate` returns, with given means; samples share a part, so that pairing matters."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=n)
    rows = [
        dict(
            dataset=dataset,
            model="m",
            modality=modality,
            sample=str(i),
            target="",
            method=method,
            metric=metric,
            value=mean + shared[i] + spread * rng.normal(),
            error="",
            forwards=0,
            backwards=0,
            seed=0,
        )
        for method, mean in values.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def test_wide_has_means_intervals_and_the_spread_of_runs():
    rows = table({"a": 1.0, "b": 2.0}, n=6).assign(run=lambda t: t["sample"].astype(int) % 2)
    lines = wide(rows, ["method"], digits=1)
    assert list(lines.columns) == ["method", "n", "mask-contrast"]
    assert lines.n.tolist() == [6, 6]
    with_runs = wide(rows, ["method"], digits=1, runs="run")["mask-contrast"]
    means = rows[rows.method == "a"].groupby("run").value.mean()
    assert with_runs[0] == lines["mask-contrast"][0] + f" ± {means.std():.1f}"
    one_run = wide(rows, ["method"], digits=1, runs="dataset")
    assert one_run.equals(lines)


def test_lead_is_the_paired_difference_of_the_two_best():
    values = table({"a": 1.0, "b": 2.0, "c": 1.9}).pivot(
        index="sample", columns="method", values="value"
    )
    best, mean, low, high = lead(values)
    assert best == "b"
    assert mean == pytest.approx((values.b - values.c).mean())
    assert 0 < low < mean < high < 0.2  # paired, although samples differ by much more
    best, mean, _, high = lead(values, lower_is_better=True)
    assert best == "a"
    assert mean < high < -0.8
    assert lead(values.assign(d=values.b))[:2] == ("b", 0)


def test_the_table_of_claims_and_the_folder_of_their_functions_share_a_name():
    from xai_utils import papers

    importlib.import_module("xai_utils.papers.claims.adaib")
    assert len(papers.claims()) == 133


def test_every_claim_has_a_function_that_says_what_decides():
    assert set(claims().paper) == set(PAPERS)
    assert claims().notebook.str.match(r"\d\d_\w+").all()
    for claim in claims().id:
        assert function_of(claim).__name__ == claim.replace("-", "_")
        first = function_of(claim).__doc__.split("\n\n")[0]
        assert first.endswith("."), claim
    for paper in PAPERS:
        module = importlib.import_module(f"xai_utils.papers.claims.{paper.replace('-', '_')}")
        prefix = paper.replace("-", "_") + "_"
        of_paper = {k for k in vars(module) if re.fullmatch(prefix + r"\d\d", k)}
        assert len(of_paper) == (claims().paper == paper).sum()


def test_no_notebook_decides():
    for path in Path("notebooks").glob("*.ipynb"):
        code = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        assert not re.search(r"\bdecide\(", "\n".join(code)), path


def test_a_claim_holds_only_if_every_paired_interval_lies_where_it_says():
    assert (
        verdict("p-ibisa-11", table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": 0.1}, "iou")).outcome
        == HOLDS
    )
    one_rival = verdict("p-ibisa-11", table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": 0.9}, "iou"))
    assert one_rival.outcome == FAILS
    assert one_rival.why.startswith("1 of 2 comparisons as claimed, 1 on the other side; against")
    assert "iou: p-ibisa - nib -0.3" in one_rival.why and one_rival.why.endswith("(n = 40)")
    undecided = verdict(
        "p-ibisa-11", table({"p-ibisa": 0.5, "m2ib": 0.5, "nib": 0.1}, "iou", spread=0.5)
    )
    assert undecided.outcome == OPEN
    assert undecided.why.startswith("1 of 2 comparisons as claimed; open: ")
    assert set(one_rival.evidence.n) == {40} and one_rival.n == 40


@pytest.mark.parametrize("nib", [0.1, 0.9])
def test_few_samples_decide_nothing(nib):
    few, enough = (
        verdict("p-ibisa-11", table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": nib}, "iou", n=n))
        for n in (ENOUGH - 1, ENOUGH)
    )
    assert enough.outcome == (HOLDS if nib < 0.5 else FAILS)
    assert few.outcome == OPEN
    assert few.n == ENOUGH - 1
    assert not few.evidence[["holds", "opposite"]].any(axis=None)
    assert [
        decide("p-ibisa-06", good, bad, "", n=n).outcome
        for good, bad, n in (
            (True, False, 40),
            (False, True, 40),
            (False, False, 40),
            (True, False, 5),
        )
    ] == [HOLDS, FAILS, OPEN, OPEN]


def test_pairing_finds_what_separate_intervals_would_hide():
    close = table(
        {"p-ibisa": 0.1, "m2ib": 0.0, "nib": 0.0}, "iou", spread=0.02
    )  # the samples themselves vary ten times more
    assert verdict("p-ibisa-11", close).outcome == HOLDS


def test_every_data_set_counts():
    both = pd.concat(
        [
            table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": 0.1}, "iou"),
            table({"p-ibisa": 0.0, "m2ib": 0.2, "nib": 0.1}, "iou", dataset="photos"),
        ]
    )
    assert verdict("p-ibisa-11", both).outcome == FAILS


def test_margins_numbers_and_closeness():
    t = table({"p-ibisa": 0.1, "random": 0.0})
    assert (
        verdict("p-ibisa-12", t).outcome == OPEN
    )  # against the number 0 the samples' own spread counts
    assert (
        verdict(
            "p-ibisa-12",
            t.assign(value=t.value / 10 + t.method.map({"p-ibisa": 0.5, "random": 0.0})),
        ).outcome
        == HOLDS
    )
    near = pd.concat(
        [table({"p-ibisa": 0.5, "ibisa": 0.51}, m, spread=0.01) for m in ("morf", "lerf")]
    )
    assert verdict("p-ibisa-08", near).outcome == HOLDS
    far = pd.concat(
        [table({"p-ibisa": 0.5, "ibisa": 0.54}, m, spread=0.01) for m in ("morf", "lerf")]
    )
    assert verdict("p-ibisa-08", far).outcome == FAILS
    lead = pd.concat(
        [
            table({"p-ibisa": 15, "rise": 0, "m2ib": 0, "nib": 0}, "conf-incr"),
            table({"p-ibisa": -1, "rise": 0, "m2ib": 0, "nib": 0}, "conf-drop"),
        ]
    )
    assert verdict("p-ibisa-03", lead).outcome == HOLDS
    assert (
        verdict("p-ibisa-03", lead.assign(value=lead.value / 2)).outcome == FAILS
    )  # 7.5 is less than 12


def test_failed_samples_are_left_out_in_pairs():
    t = table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": 0.1}, "iou")
    t.loc[(t.method == "m2ib") & (t["sample"] == "3"), "value"] = np.nan
    assert verdict("p-ibisa-11", t).evidence.n.tolist() == [39, 40]


def test_what_cannot_be_tested_says_why_and_mistakes_are_errors():
    v = verdict("p-ibisa-05")
    assert v.outcome == UNTESTABLE
    assert "captioning model" in v.why
    with pytest.raises(ValueError, match="unknown claim"):
        verdict("p-ibisa-99")
    with pytest.raises(ValueError, match="p-ibisa-11 is decided from .table"):
        verdict("p-ibisa-11")
    with pytest.raises(ValueError, match="the table has no iou of m2ib"):
        verdict("p-ibisa-11", table({"p-ibisa": 1}, "iou"))
    with pytest.raises(TypeError, match="n"):
        decide("p-ibisa-11", True, False, "")


def test_compare_puts_published_beside_ours():
    ours = table({"p-ibisa": 0.5, "random": 0.2}, "conf-drop")
    both = compare(ours, "p-ibisa", "2")
    here = both[both.source == "here"]
    assert set(both.metric) == {"conf-drop"}
    assert set(both.modality) == {"image"}
    assert set(here.method) == {"p-ibisa", "random"}
    assert set(here.n) == {40}
    assert (here.low < here.value).all()
    assert len(both) - len(here) == len(published("p-ibisa", "2").query("metric == 'conf-drop'"))
    with pytest.raises(ValueError, match="Table 2 prints"):
        compare(table({"a": 1}, "iou"), "p-ibisa", "2")


def test_compare_and_beside_keep_the_parts_of_a_data_set_apart():
    ours = table({"p-ibisa": 0.5}, "conf-drop", dataset="gallery, query")
    theirs = compare(ours, "p-ibisa", "4").query("source != 'here'")
    assert set(theirs.dataset) == {"breast-retrieval, query", "breast-retrieval, retrieved"}
    lines = beside(ours, "p-ibisa", "4")
    assert list(lines.dataset[:2]) == ["breast-retrieval, query", "breast-retrieval, retrieved"]
    assert list(lines["conf-drop"][:2]) == ["4.258", "4.186"]
    assert set(compare(ours, "p-ibisa", "2").query("source != 'here'").dataset) == {
        *published("p-ibisa", "2").dataset
    }


def test_intervals_are_one_line_for_each_entry():
    table = intervals({"a": [3, 3, 3], "b": [2.0]}, label="map", mean="share")
    assert list(table.columns) == ["map", "share", "low", "high", "n"]
    assert table.iloc[0].tolist() == ["a", 3, 3, 3, 3]
    assert np.isnan(table.low[1]) and table.n[1] == 1


def test_the_page_of_claims_shows_verdicts_and_what_is_still_open(tmp_path, monkeypatch):
    from xai_utils import plots

    folder = tmp_path / "figures" / "embedded"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XAI_FIGURES", str(folder))
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "evidence")
    v = verdict("p-ibisa-11", table({"p-ibisa": 0.5, "m2ib": 0.2, "nib": 0.9}, "iou"))
    plots.show_verdicts([v, verdict("p-ibisa-05")], "11")
    index = write_index(tmp_path / "figures").read_text()
    page = (tmp_path / "figures" / "claims.html").read_text()
    assert 'href="claims.html"' in index
    assert "claim-p-ibisa" not in index
    for text in (index, page):
        row = re.search("<tr><td>p-ibisa</td>.*?</tr>", text)[0]
        assert re.findall(r"#(\w+)@p-ibisa\">(\d+)", row) == [
            ("holds", "0"),
            ("fails", "1"),
            ("untestable", "1"),
            ("unknown", "29"),
        ]
    assert '<tr id="p-ibisa-11" data-outcome="fails">' in page
    assert 'href="../xai_utils/studies/p_ibisa.py">p-ibisa-captions</a>' in page
    assert "iou: p-ibisa - nib -0.3" in page
    assert page.count("not tested yet") == 131
    assert "http" not in page


def test_the_docs_say_of_claims_what_their_functions_the_evidence_and_the_last_run_say():
    text = Path("docs/papers.md").read_text()
    assert with_claims(text, Path("figures/embedded")) == text
    assert text.count("not tested yet") == 0
    readme = Path("README.md").read_text()
    assert with_count(readme, Path("figures/embedded")) == readme
    assert evidence_page() == Path("docs/evidence.md").read_text()


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser: Debian's package chromium")
@pytest.mark.parametrize(
    "address, papers", [("", PAPERS), ("#untestable@p-ibisa", ["p-ibisa"]), ("#untestable", None)]
)
def test_the_page_of_claims_filters_in_a_browser(tmp_path, address, papers):
    """What the address names stays to be seen, and nothing else."""
    page = Path("figures/claims.html").resolve()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path}", "--dump-dom"]
    asked = [CHROMIUM, *options, f"file://{page}{address}"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout
    parts = re.findall(r'<section id="([\w-]+)">(.*?)</section>', shown, re.S)
    rows = [row for _, part in parts for row in re.findall(r'<tr id="[^>]*>', part)]
    seen = [row for row in rows if "hidden" not in row]
    if papers:
        assert [name for name, _ in parts] == list(papers)
    assert seen and all('"untestable"' in row for row in seen) == bool(address)
    assert len(rows) == len(claims()) or papers != PAPERS
