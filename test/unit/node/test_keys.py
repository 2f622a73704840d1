"""The files with keys: whose they are, and that nobody else reads them."""

import os
import stat
from pathlib import Path

import pytest

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files, keys
from ganeti_ceph.steps import SecureKeys

#: Ceph's daemons read theirs under a user of their own.
DAEMONS = ("mon", "mgr", "osd")
ROOTS = ("admin", "disks", "collector")
EVERY = (*ROOTS, *DAEMONS, "bootstrap")


@pytest.fixture
def key(tree, tmp_path, monkeypatch):
    """Make a file with a key, by default as it should be."""
    users = {
        "disks": tmp_path / "etc/ceph/ceph.client.disks.keyring",
        "collector": tmp_path / "etc/ceph/ceph.client.collector.keyring",
    }
    places = {"admin": files.ADMIN_KEYRING, **users}
    for kind, name in (("mon", "node1"), ("mgr", "node1"), ("osd", "3")):
        places[kind] = files.daemon_dir(kind, name) / "keyring"
    places["bootstrap"] = files.DATA / "bootstrap-osd" / "ceph.keyring"
    names = {"ganeti": "disks", "ganeti-collector": "collector"}
    monkeypatch.setattr(files, "keyring", lambda user: users[names[user]])
    real = Path.lstat

    def lstat(path):
        found = list(real(path))
        found[4:6] = tree.owner(path) or (0, 0)
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", lstat)

    def key(place, mode=0o600, owner=None):
        path = places[place]
        owner = owner or (tree.CEPH if place in DAEMONS else (0, 0))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
        os.chown(path, *owner)
        return str(path)

    return key


def test_no_key_is_not_a_loose_one(tree, key):
    assert keys.loose() == ()


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_that_its_owner_alone_reads_is_well(key, place, mode):
    key(place, mode)
    assert keys.loose() == ()


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o601, 0o644])
def test_a_key_that_others_may_use_is_told(key, place, mode):
    path = key(place, mode)
    assert keys.loose() == (path,)


@pytest.mark.parametrize("place", DAEMONS)
def test_a_daemons_key_may_not_be_roots_as_it_could_not_read_it(key, place):
    path = key(place, owner=(0, 0))
    assert keys.loose() == (path,)


def test_what_makes_osds_may_be_cephs_or_roots(tree, key):
    for owner in (tree.CEPH, (0, 0)):
        key("bootstrap", owner=owner)
        assert keys.loose() == ()


@pytest.mark.parametrize("place", ROOTS)
def test_a_key_for_root_may_not_be_cephs(tree, key, place):
    path = key(place, owner=tree.CEPH)
    assert keys.loose() == (path,)


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("owner", [(1000, 1000), (0, 1000), (1000, 0)])
def test_a_key_is_nobody_elses(key, place, owner):
    path = key(place, owner=owner)
    assert keys.loose() == (path,)


def test_all_loose_keys_are_told_and_no_other(key):
    wanted = {key("admin", 0o644), key("osd", 0o640)}
    key("mon")
    key("disks")
    assert set(keys.loose()) == wanted


@pytest.mark.parametrize("place", EVERY)
def test_a_loose_key_is_given_to_its_owner_alone(tree, key, place):
    path = key(place, 0o644, (1000, 1000))
    keys.secure(SecureKeys((path,)))
    assert keys.loose() == ()
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    ceph = place not in ROOTS
    assert tree.owner(path) == (tree.CEPH if ceph else (0, 0))


def test_only_what_is_asked_for_and_holds_a_key_is_changed(tree, key):
    asked, other = key("mon", 0o644), key("osd", 0o644)
    alien = tree.root / "shadow"
    alien.touch(0o644)
    keys.secure(SecureKeys((asked, str(alien), key("mgr"))))
    assert keys.loose() == (other,)
    assert tree.owner(alien) is None


def test_no_link_in_the_place_of_a_key_is_followed(tree, key):
    path = Path(key("osd"))
    alien = tree.root / "shadow"
    alien.touch(0o600)
    path.unlink()
    path.symlink_to(alien)
    assert keys.loose() == (str(path),)
    with pytest.raises(OSError, match="symbolic links"):
        keys.secure(SecureKeys((str(path),)))
    assert tree.owner(alien) is None


def test_what_is_no_file_is_let_be(tree, key):
    path = Path(key("osd"))
    path.unlink()
    path.mkdir(0o755)
    with pytest.raises(ExecError, match="is no file"):
        keys.secure(SecureKeys((str(path),)))
