"""What a check says at its end of what failed."""

import io
import subprocess
import sys

from labkit import check

TESTS = """
import pytest

@pytest.fixture(scope="module")
def broken():
    pytest.fail("the lab\\nis gone", pytrace=False)

def test_of_numbers():
    assert 1 == 2

def test_first(broken): pass
def test_second(broken): pass
def test_well(): pass
"""


def test_each_reason_is_said_once(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    results = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--junit-xml={results}", f"--rootdir={tmp_path}", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    numbers, lab = check.reasons(results.read_text())
    assert numbers.startswith("test_of_numbers: assert 1 == 2")
    assert lab.startswith("test_first and 1 more: ")
    assert "the lab is gone" in lab


def test_what_failed_is_kept_for_the_end(capsys):
    told = []
    said = "test_a PASSED\ncheck: failed: test_b: no\ncheck: 1 passed, 1 failed\n"
    check._print_lines("trixie", io.StringIO(said), told)
    assert told == ["trixie: check: failed: test_b: no\n"]
    assert "trixie: test_a PASSED\n" in capsys.readouterr().out
