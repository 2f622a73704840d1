"""What stands in for ceph.conf and keyring: the mons, who may log in, and the key."""

import pytest

from ganeti_ceph.disk import login
from ganeti_ceph.errors import CephError
from ganeti_ceph.secret import Secret

KEY = "AQBhoaVnAAAAABAAxyz+/abcdefghijklmnopqr=="


@pytest.fixture
def keyring(tmp_path, storage):
    """A keyring where librados looks for one, after a place where there is none."""
    path = tmp_path / "ceph.client.ganeti.keyring"
    path.write_text(f'[client.ganeti]\n\tkey = {KEY}\n\tcaps mon = "profile rbd"\n')
    storage.options = {
        "keyring": f"{tmp_path}/none,{path},",
        "auth_client_required": "cephx, none",
    }
    return path


def read():
    return login.read("ganeti", "/etc/ceph/ceph.conf")


def test_all_is_found_that_ceph_finds(keyring):
    assert read() == login.Login(
        (("192.0.2.1", 3300), ("192.0.2.2", 3300), ("192.0.2.3", 3300)),
        ("cephx", "none"),
        Secret(KEY),
    )


def test_only_methods_that_ceph_accepts_are_given(keyring, storage):
    storage.options["auth_client_required"] = "cephx"
    assert read().methods == ("cephx",)


def test_a_key_in_the_configuration_goes_first(keyring, storage):
    storage.options["key"] = "a key"
    assert read().key == Secret("a key")


def test_a_key_may_have_a_file_of_its_own(keyring, storage, tmp_path):
    (tmp_path / "key").write_text("a key\n")
    storage.options["keyfile"] = str(tmp_path / "key")
    assert read().key == Secret("a key")


def test_no_key_is_needed_where_ceph_asks_for_none(keyring, storage):
    keyring.unlink()
    assert read().key is None


def test_a_file_that_cannot_be_read_is_named(keyring, storage, tmp_path):
    storage.options["keyfile"] = str(tmp_path)
    with pytest.raises(CephError, match=f"cannot read {tmp_path}: Is a directory"):
        read()


def test_a_dead_cluster_is_an_error(keyring, storage):
    storage.reachable = False
    with pytest.raises(CephError, match=r"cannot connect .* as client.ganeti"):
        read()


def mon(*addresses):
    vector = [{"type": kind, "addr": address} for kind, address in addresses]
    return {"public_addrs": {"addrvec": vector}}


@pytest.mark.parametrize(
    ("addresses", "best"),
    [
        ([("v2", "10.0.0.1:3300"), ("v1", "10.0.0.1:6789")], ("10.0.0.1", 3300)),
        ([("v1", "10.0.0.1:6789"), ("v2", "10.0.0.1:3300")], ("10.0.0.1", 3300)),
        ([("v1", "10.0.0.1:6789")], ("10.0.0.1", 6789)),
        ([("any", "10.0.0.1:3301")], ("10.0.0.1", 3301)),
        ([("v2", "[fd00::1]:3300"), ("v1", "[fd00::1]:6789")], ("fd00::1", 3300)),
    ],
)
def test_mons_are_reached_over_the_newer_protocol(addresses, best):
    assert login.mons([mon(*addresses)]) == [best]


def test_a_mon_without_an_address_is_left_out():
    assert login.mons([mon(), mon(("v2", "10.0.0.1:3300"))]) == [("10.0.0.1", 3300)]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"[client.ganeti]\n\tkey = {KEY}\n", KEY),
        (f"[client.x]\nkey=y\n[client.ganeti]\nkey={KEY}", KEY),
        (f'[client.ganeti]\n  key = "{KEY}"\n', KEY),
        ("[client.x]\nkey = y\n", None),
        ('[client.ganeti]\ncaps mon = "allow r"\n', None),
        ("no keyring", None),
    ],
)
def test_a_keyring_is_read(text, key):
    assert login.key_in(text, "client.ganeti") == (Secret(key) if key else None)
