import subprocess
import sys

import doctor
import pytest
from test_repo import ROOT


@pytest.fixture
def bare(monkeypatch):
    """A machine before anything is installed, without any program."""
    monkeypatch.setattr(doctor, "INSTALLED", False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)


def test_what_is_not_needed_is_said_and_no_failure(bare, capsys):
    assert doctor.main() == 0
    told = capsys.readouterr().out
    assert "without  apt-get" in told and "9 of 33 photographs" in told
    assert "MISSING" not in told


def test_an_old_python_and_a_full_disk_are_failures(bare, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9))
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert "MISSING  Python" in told and "MISSING  1 GB free" in told
    assert told.endswith("not installed yet: make setup, then make doctor again\n")


def test_another_version_than_the_pinned_one_is_named(monkeypatch, tmp_path):
    assert doctor.unpinned() == []
    (tmp_path / "constraints.txt").write_text("timm==0.0.1\nnumpy==2.0\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert any(name.startswith("timm ") and "0.0.1" in name for name in doctor.unpinned())


def test_it_needs_the_standard_library_alone():
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('tools/doctor.py')"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
