"""The OSDs' memory: what they aim at, and what instances cannot have of it."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.node import osd_memory
from ganeti_ceph.params import StorageParameters

GIB = 2**30
OPTION = "osd_memory_target"
AUTO = StorageParameters()


def fixed(size):
    return StorageParameters(osd_memory=size)


@pytest.mark.parametrize(
    ("total", "instances", "osds", "aim"),
    [
        (64, 40, 2, 5632 * 2**20),
        (64, 0, 1, 16 * GIB),
        (64, 0, 24, 2 * GIB),
        # Just enough for more than the least, and just not.
        (10, 0, 2, 2 * GIB),
        (11, 0, 2, 2304 * 2**20),
        (16, 20, 2, 2 * GIB),
    ],
)
def test_auto_is_half_of_what_is_idle_within_limits(total, instances, osds, aim):
    assert osd_memory.target(AUTO, total * GIB, instances * GIB, osds) == aim


def test_what_was_asked_for_is_so():
    assert osd_memory.target(fixed(GIB), 64 * GIB, 0, 1) == GIB
    assert osd_memory.target(fixed(40 * GIB), 64 * GIB, 60 * GIB, 9) == 40 * GIB


@given(st.integers(GIB, 2**42), st.integers(0, 2**42), st.integers(1, 60))
def test_auto_leaves_idle_memory_to_instances(total, instances, osds):
    aim = osd_memory.target(AUTO, total, instances, osds)
    assert 2 * GIB <= aim <= 16 * GIB
    if aim > 2 * GIB:
        assert aim * osds <= (total - instances) // 2


@pytest.mark.parametrize(
    ("wanted", "resident", "less"),
    [
        (None, [GIB, GIB], 2 * GIB),
        (None, [5 * GIB], -3 * GIB),
        (None, [2 * GIB], 0),
        (4 * GIB, [GIB], 3 * GIB),
        (None, [], 0),
    ],
)
def test_what_osds_are_sure_of_is_kept_from_instances(wanted, resident, less):
    assert osd_memory.reserved(fixed(wanted), resident) == less


def test_what_osds_have_is_read_from_the_kernel(tmp_path):
    for number, name, lines in (
        (7, "ceph-osd", "Name:\tceph-osd\nVmRSS:\t  1024 kB\n"),
        (8, "ceph-mon", "VmRSS:\t 9 kB\n"),
        (9, "ceph-osd", "VmRSS:\t 2 kB\n"),
        # It ends while it is looked at.
        (10, "ceph-osd", ""),
    ):
        process = tmp_path / str(number)
        process.mkdir()
        (process / "comm").write_text(name + "\n")
        (process / "status").write_text(lines)
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\n")
    assert sorted(osd_memory.resident(tmp_path)) == [2048, 1024 * 1024]
    assert osd_memory.total(tmp_path) == 2048 * 1024


@pytest.fixture
def osds(osd_sockets, monkeypatch):
    """Make OSDs, and tell what each aims at."""

    def make(**aims):
        monkeypatch.setattr(osd_memory, "total", lambda: 18 * GIB)
        made = osd_sockets(aims, lambda name, asked: _answer(aims, name, asked))
        made.aims = aims
        return made

    return make


def _answer(aims, name, asked):
    assert asked["var"] == OPTION
    if asked["prefix"] == "config get":
        return {OPTION: str(aims[name])}
    assert asked["prefix"] == "config set"
    (value,) = asked["val"]
    aims[name] = int(value)
    return {"success": ""}


def test_each_osd_is_told_what_to_aim_at(osds):
    made = osds(osd_0=2 * GIB, osd_3=8 * GIB)
    assert osd_memory.apply(AUTO, 0) == ["osd.0", "osd.3"]
    assert made.aims == {"osd_0": 4 * GIB, "osd_3": 4 * GIB}
    assert osd_memory.apply(AUTO, 0) == []


def test_a_small_change_is_not_worth_it_unless_it_was_asked_for(osds):
    made = osds(osd_0=4 * GIB)
    assert osd_memory.apply(AUTO, 8 * GIB + 512 * 2**20) == []
    assert osd_memory.apply(fixed(4 * GIB - 2**20), 0) == ["osd.0"]
    assert made.aims == {"osd_0": 4 * GIB - 2**20}


def test_a_node_without_osds_is_told_nothing(osds):
    osds()
    assert osd_memory.apply(AUTO, 0) == []


def test_an_osd_that_does_not_answer_is_named_and_the_others_told(osds, caplog):
    made = osds(osd_0=2 * GIB, osd_1=2 * GIB)
    made.silent = "osd_0"
    assert osd_memory.apply(AUTO, 0) == ["osd.1"]
    assert "ceph-osd.0.asok: config get" in caplog.text
    assert "timed out" in caplog.text


def test_an_answer_that_is_none_is_a_failure_of_that_osd(osds, caplog):
    osds(osd_0=2 * GIB).nonsense = b"ERROR: (22) Invalid argument"
    assert osd_memory.apply(AUTO, 0) == []
    assert "ceph-osd.0.asok: config get" in caplog.text


def test_a_socket_that_was_left_behind_is_no_osd(osds, caplog, tmp_path):
    made = osds(osd_1=2 * GIB)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "ceph-osd.0.asok"))
    dead.close()
    assert osd_memory.apply(AUTO, 0) == ["osd.1"]
    # It does not take a share of what is left.
    assert made.aims == {"osd_1": 8 * GIB}
    assert caplog.text == ""
