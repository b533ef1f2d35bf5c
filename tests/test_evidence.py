"""The evidence that is committed: it is what its study declares, and one case of each study, which
the commit chooses, is computed again. Each commit checks other cases."""

import subprocess
from pathlib import Path

import pytest
import torch

from xai_utils import studies
from xai_utils.data import DataMissing
from xai_utils.studies.evidence import FOLDER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KEPT = [(file.parent.name, file.stem) for file in sorted(FOLDER.glob("*/*.parquet"))]


def chosen_by_the_commit() -> int:
    asked = ["git", "rev-parse", "HEAD"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    return int(told.stdout[:8], 16) if told.returncode == 0 else 0


@pytest.mark.parametrize("profile, name", KEPT)
def test_evidence_is_what_its_study_declares(profile, name):
    evidence = studies.load(name, profile)
    parts = {part.name: part.declared() for part in evidence.study.parts(profile)}
    assert {k: made["declared"] for k, made in evidence.made.items()}.items() <= parts.items(), (
        f"stale: make evidence STUDY={name} PROFILE={profile}"
    )
    assert set(evidence.rows.part) == set(evidence.made)


@pytest.mark.parametrize("profile, name", KEPT)
def test_a_case_computed_again_agrees(profile, name):
    evidence = studies.load(name, profile)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        checked = evidence.check(1, seed=chosen_by_the_commit())
    except DataMissing as error:
        pytest.skip(str(error))
    finally:
        torch.set_num_threads(threads)
    assert studies.agree(checked), (
        f"stale: make evidence STUDY={name} PROFILE={profile}\n"
        f"{checked[~checked.agrees].to_string(index=False)}"
    )
