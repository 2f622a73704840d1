"""Files: whole or not at all, and readable by whom they are for."""

import os
import stat

import pytest

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [0o600, 0o644])
def test_a_file_is_written_with_mode_and_owner(tree, bits):
    path = tree.root / "a" / "b" / "file"
    files.write(path, "text\n", bits, (7, 8))
    assert path.read_text() == "text\n"
    assert mode(path) == bits
    assert tree.owner(path) == (7, 8)
    assert os.listdir(path.parent) == ["file"]


def test_a_new_text_takes_the_place_of_the_old_one(tree):
    path = tree.root / "file"
    files.write(path, "old", 0o644)
    files.write(path, "new", 0o600)
    assert path.read_text() == "new"
    assert mode(path) == 0o600


def test_a_secret_is_never_readable_by_others(tree, monkeypatch):
    path = tree.root / "file"
    seen = []
    real = os.fchown

    def fchown(handle, *owner):
        seen.append((stat.S_IMODE(os.fstat(handle).st_mode), os.fstat(handle).st_size))
        real(handle, *owner)

    monkeypatch.setattr(os, "fchown", fchown)
    files.write(path, "s3cret", 0o644)
    assert seen == [(0o600, 0)]


def test_what_failed_leaves_the_old_text_and_nothing_else(tree, monkeypatch):
    path = tree.root / "file"
    files.write(path, "old", 0o644)

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write(path, "new", 0o644)
    assert path.read_text() == "old"
    assert os.listdir(tree.root) == ["file"]


def test_what_an_earlier_power_cut_left_is_no_obstacle(tree):
    (tree.root / ".file.ganeti-ceph").write_text("half")
    files.write(tree.root / "file", "new", 0o644)
    assert os.listdir(tree.root) == ["file"]


def test_a_link_of_that_name_is_not_followed(tree):
    other = tree.root / "other"
    other.write_text("safe")
    (tree.root / ".file.ganeti-ceph").symlink_to(other)
    files.write(tree.root / "file", "new", 0o644)
    assert other.read_text() == "safe"


def test_a_file_that_is_not_there_reads_as_none(tree):
    (tree.root / "file").write_text(" x \n")
    assert files.read(tree.root / "file") == "x"
    assert files.read(tree.root / "missing") is None
    assert files.read(tree.root / "file" / "below") is None


def test_a_directory_is_made_once(tree):
    path = tree.root / "a" / "b"
    for _ in range(2):
        files.make_dir(path, (7, 8))
        assert mode(path) == 0o750
        assert tree.owner(path) == (7, 8)


def test_scratch_is_its_owners_alone_and_gone_afterwards(tree):
    with files.scratch("mon-a", (7, 8)) as path:
        assert mode(path) == 0o700
        assert tree.owner(path) == (7, 8)
        (path / "keyring").write_text("s3cret")
    assert not path.exists()


def test_scratch_is_gone_also_after_a_failure_and_empty_before(tree):
    with pytest.raises(RuntimeError):
        with files.scratch("mon-a", (7, 8)) as path:
            raise RuntimeError
    assert not path.exists()
    path.mkdir(parents=True)
    (path / "old").touch()
    with files.scratch("mon-a", (7, 8)) as path:
        assert os.listdir(path) == []


def test_scratch_can_be_entered_under_any_umask(tree):
    old = os.umask(0o077)
    try:
        with files.scratch("mon-a", (7, 8)) as path:
            assert mode(path.parent) == 0o711
    finally:
        os.umask(old)


def test_the_daemons_have_their_directories(tree):
    assert files.daemon_dir("osd", "3") == tree.root / "var/lib/ceph/osd/ceph-3"


def test_a_node_without_ceph_is_told_so(tree, monkeypatch):
    assert files.ceph_ids() == (64045, 64045)
    monkeypatch.setattr(files.pwd, "getpwnam", {}.__getitem__)
    with pytest.raises(ExecError, match="install Ceph's packages"):
        files.ceph_ids()
