"""The user that opens disks: made once, may use what it was given, key never told."""

import dataclasses
import errno
import time
from concurrent.futures import ThreadPoolExecutor

import fakes
import pytest
from fakes import ADMIN

from ganeti_ceph import ceph
from ganeti_ceph.errors import CephError
from ganeti_ceph.node import client, files
from ganeti_ceph.rpc import DefaultPool, Grant
from ganeti_ceph.steps import MakeClient

STEP = MakeClient("ganeti", "vms", ADMIN)
ENTITY = "client.ganeti"
KEY = "key-of-client.ganeti=="


@pytest.fixture
def keyring(tree, monkeypatch):
    """The file that Ceph's programs find the user's key in."""
    path = tree.root / "etc/ceph/ceph.client.ganeti.keyring"
    monkeypatch.setattr(files, "keyring", {"ganeti": path}.__getitem__)
    return path


@pytest.fixture
def pools(tree, storage):
    """The pools of the storage cluster."""
    storage.images.update({"vms": {}, "ssd": {}, "hdd": {}})
    return storage.images


@pytest.fixture
def known(storage):
    """Let the user be known, and say what it may do."""

    def known(*caps):
        storage.keys[ENTITY] = (KEY, caps)

    return known


def caps(storage):
    """Return what the user may do."""
    return storage.keys[ENTITY][1]


def prefixes(storage):
    return [prefix for prefix, _ in storage.commands]


# Making


def test_a_user_that_is_not_there_is_made_for_the_pool_and_nothing_else(
    keyring, storage
):
    client.make(STEP)
    assert caps(storage) == ("mon", "profile rbd", "osd", "profile rbd pool=vms")
    assert prefixes(storage) == ["auth get", "auth get-or-create"]


def test_the_keyring_holds_the_key_and_only_root_reads_it(keyring, storage, tree):
    client.make(STEP)
    assert keyring.read_text() == f"[{ENTITY}]\n\tkey = {KEY}\n"
    assert keyring.stat().st_mode & 0o777 == 0o600
    assert tree.owner(keyring) == (0, 0)


@pytest.mark.parametrize("before", [True, False])
def test_the_key_is_not_told(keyring, storage, known, before):
    if before:
        known(*client.capabilities(["vms"]))
    assert client.make(STEP) == f"wrote {keyring}"


def test_a_user_that_may_already_is_left_as_it_is(keyring, storage, known):
    known(*client.capabilities(["vms", "ssd"]))
    client.make(STEP)
    assert prefixes(storage) == ["auth get"]
    assert KEY in keyring.read_text()


def test_a_user_of_other_pools_keeps_them(keyring, storage, known):
    known("mon", "profile rbd", "osd", "profile rbd pool=ssd, profile rbd pool=x-1.y_Z")
    client.make(STEP)
    assert caps(storage) == tuple(client.capabilities(["ssd", "vms", "x-1.y_Z"]))
    assert storage.keys[ENTITY][0] == KEY


def test_a_user_that_may_nothing_yet_learns_it(keyring, storage, known):
    known()
    client.make(STEP)
    assert caps(storage) == tuple(client.capabilities(["vms"]))


def test_twice_is_as_good_as_once(keyring, storage):
    client.make(STEP)
    before = keyring.read_text(), dict(storage.keys)
    client.make(STEP)
    assert (keyring.read_text(), storage.keys) == before


@pytest.mark.parametrize("command", ["auth get", "auth get-or-create", "auth caps"])
def test_a_refusal_is_said_without_the_key_and_nothing_is_written(
    keyring, storage, known, monkeypatch, command
):
    if command == "auth caps":
        known(*client.capabilities(["ssd"]))

    def refuse(**_):
        raise fakes.Refused(errno.EACCES, "access denied")

    name = "_" + command.replace(" ", "_").replace("-", "_")
    monkeypatch.setattr(storage, name, refuse)
    with pytest.raises(CephError) as caught:
        client.make(STEP)
    assert caught.value.errno == errno.EACCES
    assert str(caught.value) == f"'ceph {command}' failed: access denied"
    assert not keyring.exists()


def test_without_a_cluster_nothing_is_written(keyring, storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        client.make(STEP)
    assert not keyring.exists()


# Granting


def test_further_pools_are_granted_beside_the_old_ones(storage, pools, known):
    known(*client.capabilities(["vms"]))
    client.grant(Grant("ganeti", ("ssd", "hdd")))
    assert caps(storage) == tuple(client.capabilities(["hdd", "ssd", "vms"]))


def test_one_pool_of_two_is_new(storage, pools, known):
    known(*client.capabilities(["vms"]))
    client.grant(Grant("ganeti", ("vms", "ssd")))
    assert caps(storage) == tuple(client.capabilities(["ssd", "vms"]))


def test_what_is_granted_is_not_granted_again(storage, pools, known):
    known(*client.capabilities(["vms", "ssd"]))
    client.grant(Grant("ganeti", ("ssd",)))
    assert prefixes(storage) == ["auth get"]


def test_a_user_that_is_not_there_is_made_for_what_is_granted(storage, pools):
    client.grant(Grant("ganeti", ("ssd", "hdd")))
    assert caps(storage) == tuple(client.capabilities(["hdd", "ssd"]))


@pytest.mark.parametrize("asked", [("lost",), ("vms", "lost")])
def test_a_pool_that_is_missing_is_named_and_nothing_is_granted(storage, pools, asked):
    with pytest.raises(CephError) as caught:
        client.grant(Grant("ganeti", asked))
    assert caught.value.errno == errno.ENOENT
    assert "no pool lost; create it ('ceph osd pool create lost'," in str(caught.value)
    assert storage.commands == []


def test_the_pool_that_is_named_is_ceph_s_default(storage, pools):
    client.name_pool(DefaultPool("ssd", ""))
    assert storage.settings["rbd_default_pool"] == "ssd"
    assert storage.kept == {}


def test_the_data_pool_is_kept_with_the_default_pool_as_long_as_it_has_one(
    storage, pools
):
    client.name_pool(DefaultPool("ssd", "hdd"))
    assert storage.kept == {"ssd": {"ganeti-data-pool": "hdd"}}
    # Or new images of other users would have it.
    assert set(storage.settings) == {"rbd_default_pool"}
    client.name_pool(DefaultPool("ssd", ""))
    assert storage.kept == {"ssd": {}}


@pytest.mark.parametrize(
    "asked", [("nosuch", ""), ("nosuch", "ssd"), ("ssd", "nosuch")]
)
def test_a_pool_that_is_missing_does_not_become_the_default(storage, pools, asked):
    with pytest.raises(CephError, match="has no pool nosuch; create it"):
        client.name_pool(DefaultPool(*asked))
    assert storage.commands == []


def test_granting_needs_no_keyring_of_the_user(keyring, storage, pools):
    client.grant(Grant("ganeti", ("ssd",)))
    assert not keyring.exists()


@pytest.fixture
def others(storage, monkeypatch):
    """Let others write down what the user may, each right after us; say what."""
    others = []
    auth_caps = storage._auth_caps

    def write(entity, caps):
        auth_caps(entity, caps)
        if others:
            auth_caps(entity, client.capabilities(others.pop(0)))

    monkeypatch.setattr(storage, "_auth_caps", write)
    return others


def test_a_pool_that_another_node_takes_away_again_is_granted_again(
    storage, pools, known, others
):
    known(*client.capabilities(["vms"]))
    others += [["vms", "hdd"]]
    client.grant(Grant("ganeti", ("ssd",)))
    assert caps(storage) == tuple(client.capabilities(["hdd", "ssd", "vms"]))


def test_one_that_is_taken_away_again_and_again_is_a_failure(
    storage, pools, known, others
):
    known(*client.capabilities(["vms"]))
    others += [["vms"]] * 9
    with pytest.raises(CephError, match="is changed by somebody else"):
        client.grant(Grant("ganeti", ("ssd",)))
    assert 0 < len(others) < 9


def test_one_at_a_time_changes_what_it_may_on_a_node(
    storage, pools, known, monkeypatch
):
    known(*client.capabilities(["vms"]))
    find = client.find

    def slow(*arguments):
        found = find(*arguments)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(client, "find", slow)
    monkeypatch.setattr(client, "_TRIES", 2)
    asked = [Grant("ganeti", (pool,)) for pool in ("ssd", "hdd")]
    with ThreadPoolExecutor() as threads:
        list(threads.map(client.grant, asked))
    assert caps(storage) == tuple(client.capabilities(["hdd", "ssd", "vms"]))


# Taking back


@pytest.fixture
def seen(storage, pools, known, left, monkeypatch):
    """What the user finds in the trash of its pools; it may use all three."""
    known(*client.capabilities(["vms", "ssd", "hdd"]))
    seen = {"vms": (), "ssd": (), "hdd": ()}

    def beside(place):
        assert (place.user, place.conf) == ("ganeti", ceph.CONF)
        return tuple(dataclasses.replace(place, pool=pool) for pool in seen)

    monkeypatch.setattr(client.image, "beside", beside)
    monkeypatch.setattr(client.trash, "content", lambda place: seen[place.pool])
    monkeypatch.setattr(client.image, "names", lambda place: left.get(place.pool, ()))
    return seen


@pytest.fixture
def left():
    """The images in pools that no disk is in."""
    return {}


def test_pools_that_no_disk_is_in_are_taken_back(storage, seen):
    client.take_back(Grant("ganeti", ("vms", "hdd")))
    assert caps(storage) == tuple(client.capabilities(["hdd", "vms"]))


@pytest.mark.parametrize("pool", ["vms", "ssd"])
def test_nothing_is_taken_back_while_there_are_removed_images(storage, seen, pool):
    # Its data may be in any of the pools.
    seen[pool] = ("an image",)
    client.take_back(Grant("ganeti", ("vms", "hdd")))
    assert prefixes(storage) == []


def test_a_pool_with_images_of_others_is_not_taken_back(storage, seen, left):
    # A disk may be a clone of one.
    left["ssd"] = ("golden",)
    client.take_back(Grant("ganeti", ("vms",)))
    assert caps(storage) == tuple(client.capabilities(["ssd", "vms"]))


@pytest.mark.parametrize(
    "osd",
    [
        "profile rbd pool=vms, profile rbd pool=ssd, profile rbd-read-only pool=hdd",
        "profile rbd pool=ssd namespace=a, profile rbd pool=vms",
    ],
)
def test_what_an_administrator_changed_is_left_as_it_is(storage, seen, known, osd):
    known("mon", "profile rbd", "osd", osd)
    client.take_back(Grant("ganeti", ("vms",)))
    assert prefixes(storage) == ["auth get"]


@pytest.mark.parametrize("asked", [("vms", "ssd", "hdd"), ("vms", "ssd", "hdd", "new")])
def test_where_nothing_is_to_be_taken_back_nothing_is_changed(storage, seen, asked):
    client.take_back(Grant("ganeti", asked))
    assert prefixes(storage) == ["auth get"]


def test_a_user_is_never_left_without_a_pool(storage, seen):
    client.take_back(Grant("ganeti", ("new",)))
    assert prefixes(storage) == ["auth get"]


def test_a_trash_that_cannot_be_seen_keeps_all_pools(storage, seen, monkeypatch):
    def fails(_):
        raise CephError("no answer", errno.ETIMEDOUT)

    monkeypatch.setattr(client.trash, "content", fails)
    with pytest.raises(CephError, match="no answer"):
        client.take_back(Grant("ganeti", ("vms",)))
    assert prefixes(storage) == []


# What it may


@pytest.mark.parametrize("pools", [["b", "a"], ["a", "b"], ["a", "b", "a"]])
def test_what_it_may_is_the_same_whoever_asks(pools):
    assert client.capabilities(iter(pools)) == client.capabilities(["a", "b"])
