"""Connections to the storage cluster: bounded, ended, and failing in words."""

import errno
import json

import pytest
import rados
from fakes import ADMIN, FakeCeph

from ganeti_ceph import ceph
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError


@pytest.fixture
def storage(monkeypatch):
    storage = FakeCeph()
    monkeypatch.setattr(ceph.rados, "Rados", storage.rados)
    return storage


@pytest.fixture
def given(monkeypatch, storage):
    """What librados is given when a connection is made."""
    given = {}

    def make(**arguments):
        given.update(arguments)
        return storage.rados()

    monkeypatch.setattr(ceph.rados, "Rados", make)
    return given


# Connecting


def test_nothing_waits_for_ever(given):
    with ceph.connect(timeout=7):
        pass
    bounds = given["conf"]
    assert bounds["client_mount_timeout"] == "7"
    assert bounds["rados_mon_op_timeout"] == "7"
    assert bounds["rados_osd_op_timeout"] == "7"


def test_the_administrators_key_is_used(given):
    with ceph.connect():
        pass
    assert (given["name"], given["conffile"]) == ("client.admin", ceph.CONF)


def test_a_key_that_is_given_goes_before_all_keyrings(given):
    with ceph.connect():
        pass
    assert "key" not in given["conf"]
    with ceph.connect(key=ADMIN):
        pass
    assert given["conf"]["key"] == ADMIN.reveal()


def test_the_mons_of_ceph_conf_are_asked_unless_others_are_given(given):
    with ceph.connect():
        pass
    assert "mon_host" not in given["conf"]
    with ceph.connect(mons=(Mon("a", "192.0.2.1"), Mon("b", "2001:db8::2"))):
        pass
    assert given["conf"]["mon_host"] == (
        "[v2:192.0.2.1:3300,v1:192.0.2.1:6789],"
        "[v2:[2001:db8::2]:3300,v1:[2001:db8::2]:6789]"
    )


def test_a_key_that_is_given_is_in_no_error(storage):
    storage.reachable = False
    with pytest.raises(CephError) as caught:
        with ceph.connect(key=ADMIN):
            raise AssertionError("there is no connection")
    assert ADMIN.reveal() not in str(caught.value)


@pytest.mark.parametrize("eager", [True, False])
def test_mons_that_are_being_started_are_asked_more_often(given, eager):
    with ceph.connect(eager=eager):
        pass
    assert ("mon_client_hunt_interval" in given["conf"]) is eager


def test_a_connection_ends_with_its_block(storage):
    with ceph.connect() as cluster:
        assert cluster.connected
    assert not cluster.connected


def test_a_connection_ends_also_with_a_failure(storage):
    with pytest.raises(RuntimeError):
        with ceph.connect() as cluster:
            raise RuntimeError
    assert not cluster.connected


def test_a_cluster_that_does_not_answer_is_an_error_with_its_errno(storage):
    storage.reachable = False
    with pytest.raises(CephError, match="look at the mons and the key") as caught:
        with ceph.connect():
            raise AssertionError("there is no connection")
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_node_without_ceph_conf_is_told_so(monkeypatch):
    def make(**_):
        raise rados.ObjectNotFound("error calling conf_read_file", errno.ENOENT)

    monkeypatch.setattr(ceph.rados, "Rados", make)
    with pytest.raises(CephError, match="is this node a part of") as caught:
        with ceph.connect():
            raise AssertionError("there is no connection")
    assert caught.value.errno == errno.ENOENT


# Commands


class Cluster:
    """A connection that answers one command."""

    def __init__(self, code=0, answer=b"", status=""):
        self.answer = (code, answer, status)
        self.asked = []
        self.ended = False

    def mon_command(self, request, data):
        self.asked.append((json.loads(request), data))
        if isinstance(self.answer[0], Exception):
            raise self.answer[0]
        return self.answer

    mgr_command = mon_command

    def shutdown(self):
        self.ended = True


def test_a_command_is_sent_as_json_and_its_answer_read():
    cluster = Cluster(answer=b'{"a": [1]}')
    assert ceph.command(cluster, "osd x", pool="vms", ids=["1"]) == {"a": [1]}
    ((request, data),) = cluster.asked
    assert request == {"prefix": "osd x", "format": "json", "pool": "vms", "ids": ["1"]}
    assert data == b""


def test_data_goes_beside_the_command():
    cluster = Cluster()
    ceph.command(cluster, "osd new", b"s3cret", uuid="u")
    ((request, data),) = cluster.asked
    assert data == b"s3cret"
    assert "s3cret" not in repr(request)


@pytest.mark.parametrize("answer", [b"", b"\n"])
def test_a_command_may_have_no_answer(answer):
    assert ceph.command(Cluster(answer=answer), "x") is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("pool 'x' in use", "pool 'x' in use"),
        ("two\n  lines\n", "two lines"),
        ("", "Device or resource busy"),
    ],
)
def test_a_command_that_is_refused_says_why(status, words):
    with pytest.raises(CephError) as caught:
        ceph.command(Cluster(-errno.EBUSY, b"", status), "osd x")
    assert str(caught.value) == f"'ceph osd x' failed: {words}"
    assert caught.value.errno == errno.EBUSY


def test_a_command_without_an_answer_in_time_is_named():
    cluster = Cluster(rados.TimedOut("mon_command", errno.ETIMEDOUT))
    with pytest.raises(CephError, match="'ceph osd x' failed") as caught:
        ceph.command(cluster, "osd x")
    assert caught.value.errno == errno.ETIMEDOUT


@pytest.mark.parametrize(
    "code",
    [
        # As librados has it, which is no negative number.
        errno.ETIMEDOUT,
        -errno.ETIMEDOUT,
        rados.TimedOut("mgr_command", errno.ETIMEDOUT),
    ],
)
def test_a_manager_without_an_answer_in_time_cannot_answer_later(code):
    """Librados would write it into memory that is another's by then."""
    cluster = Cluster(code)
    with pytest.raises(CephError, match="'ceph osd df' failed") as caught:
        ceph.manager_command(cluster, "osd df")
    assert caught.value.errno == errno.ETIMEDOUT
    assert cluster.ended


def test_a_manager_that_refuses_is_asked_on():
    cluster = Cluster(-errno.EINVAL)
    with pytest.raises(CephError):
        ceph.manager_command(cluster, "osd df")
    assert not cluster.ended
