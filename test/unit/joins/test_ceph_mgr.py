"""bcrypt in ceph-mgr: another process answers, and passwords are on no command line."""

import json
import subprocess
import sys
import types

import pytest

from ganeti_ceph.joins import ceph_mgr

#: A bcrypt that shows what it was given.
BCRYPT = """
def gensalt(rounds=12, prefix=b"2b"):
    return b"$%s$%d$salt" % (prefix, rounds)
def hashpw(password, salt):
    if not salt.startswith(b"$"):
        raise ValueError("Invalid salt")
    return salt + b":" + password[::-1]
def checkpw(password, hashed):
    return hashed.endswith(password[::-1])
"""


@pytest.fixture
def bcrypt(tmp_path, monkeypatch):
    """The stand-in, whose process finds the bcrypt above."""
    (tmp_path / "bcrypt.py").write_text(BCRYPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(ceph_mgr, "_PYTHON", sys.executable)
    module = types.ModuleType("bcrypt")
    ceph_mgr.stand_in_for_bcrypt(module)
    return module


def test_salts_and_hashes_are_those_of_bcrypt(bcrypt):
    assert bcrypt.gensalt() == b"$2b$12$salt"
    assert bcrypt.gensalt(4, prefix=b"2a") == b"$2a$4$salt"
    assert bcrypt.hashpw(b"abc", b"$s") == b"$s:cba"


def test_bytes_of_every_value_get_through(bcrypt):
    password = bytes(range(1, 256))
    assert bcrypt.hashpw(password, b"$") == b"$:" + password[::-1]


def test_a_password_is_told_right_or_wrong(bcrypt):
    hashed = bcrypt.hashpw(b"abc", b"$s")
    assert bcrypt.checkpw(b"abc", hashed) is True
    assert bcrypt.checkpw(b"abd", hashed) is False


def test_what_bcrypt_refuses_is_a_value_error_as_it_would_be(bcrypt):
    with pytest.raises(ValueError, match="Invalid salt"):
        bcrypt.hashpw(b"abc", b"no salt")


def test_a_password_is_on_no_command_line(bcrypt, monkeypatch):
    seen = []

    def record(argv, **how):
        seen.append((argv, how))
        return subprocess.CompletedProcess(argv, 0, json.dumps("h"), "")

    monkeypatch.setattr(ceph_mgr.subprocess, "run", record)
    bcrypt.hashpw(b"p4ssword", b"$s")
    ((argv, how),) = seen
    assert "p4ssword" not in " ".join(argv)
    assert "p4ssword" in how["input"]
