"""The screen of ``gnt-storage status``: what it shows, and how numbers are said."""

import dataclasses

import pytest
from fakes import FSID, GIB, make_nodes
from outcome import changed, finished

from ganeti_ceph.cli import status as screen
from ganeti_ceph.diagnose import Finding, Member
from ganeti_ceph.facts import OsdUse, PoolUse, Report
from ganeti_ceph.jobs.status import Status
from ganeti_ceph.jobs.survey import Storage
from ganeti_ceph.params import StorageParameters

PARAMS = StorageParameters(disks=("/dev/sdb",), mgr_count=2)
STORAGE = Storage("uuid", "default", FSID, PARAMS)


@pytest.fixture(scope="module")
def cluster():
    return finished(make_nodes(3), PARAMS)[1]


def report_of(cluster, **changes):
    values = {
        "cluster": cluster,
        "size": 60 * GIB,
        "used": 6 * GIB,
        "pools": (PoolUse("rbd", 2 * GIB, 17 * GIB),),
        "osds": tuple(OsdUse(number, 20 * GIB, 2 * GIB) for number in range(3)),
        "states": (("active+clean", 128),),
        "copies": 900,
        "degraded": 0,
        "misplaced": 0,
        "recovered": 0,
        "recovered_bytes": 0,
        "read": 0,
        "written": 0,
    }
    return Report(**{**values, **changes})


def member(name, **changes):
    values = {"offline": False, "drained": False, "ready": True, **changes}
    return Member(name, name, **values)


MEMBERS = tuple(member(f"node{number}") for number in (1, 2, 3))


def shown(report, members=MEMBERS, silence="", findings=()):
    status = Status(STORAGE, tuple(members), report, silence, tuple(findings))
    return list(screen.lines(status))


def line(name, report, **changes):
    """Return what one line of the overview says, None if it is not there."""
    found = [one for one in shown(report, **changes) if one.startswith(f"{name} ")]
    assert len(found) <= 1
    return found[0].removeprefix(name).strip() if found else None


def test_a_healthy_cluster_is_one_screen(cluster):
    assert shown(report_of(cluster)) == [
        f"Storage cluster {FSID} of node group default: HEALTH_OK",
        "",
        "Capacity   [###---------------------------]  6.0 GiB of 60.0 GiB used (10 %)",
        "Pool       rbd: 2.0 GiB stored, room for 17.0 GiB",
        "Mons       node1, node2, node3",
        "Mgrs       active: node1, standby: node2",
        "OSDs       3, 3 up, 3 in",
        "Placement  128 active+clean",
        "Clients    0 B/s read, 0 B/s written",
        "",
        "node1  online   osd.0 up 10 %",
        "node2  online   osd.1 up 10 %",
        "node3  online   osd.2 up 10 %",
    ]


def test_a_cluster_that_does_not_answer_is_told_with_the_reason():
    finding = Finding("node2", "it does not answer: no route to host")
    assert shown(None, silence="node1: timed out", findings=[finding]) == [
        f"Storage cluster {FSID} of node group default: does not answer",
        "  node1: timed out",
        "",
        "To do:",
        "  - node2: it does not answer: no route to host",
    ]


def test_the_health_is_that_of_the_cluster(cluster):
    ill = dataclasses.replace(cluster, health="HEALTH_WARN")
    assert shown(report_of(ill))[0].endswith(": HEALTH_WARN")


def test_what_is_to_do_comes_last_with_its_node_where_it_has_one(cluster):
    findings = [Finding("node2", "do this"), Finding(None, "do that")]
    lines = shown(report_of(cluster), findings=findings)
    assert lines[-4:] == ["", "To do:", "  - node2: do this", "  - do that"]


@pytest.mark.parametrize(
    ("name", "there"),
    [("rbd", True), (".mgr", False), ("device_health_metrics", False), ("a.b", True)],
)
def test_pools_are_shown_but_for_those_of_ceph_itself(cluster, name, there):
    text = line("Pool", report_of(cluster, pools=(PoolUse(name, 1024, 2048),)))
    assert text == (f"{name}: 1.0 KiB stored, room for 2.0 KiB" if there else None)


def test_mons_that_are_not_in_quorum_are_named(cluster):
    less = dataclasses.replace(cluster, quorum=("node3", "node1"))
    assert line("Mons", report_of(less)) == "node1, node3; not in quorum: node2"


@pytest.mark.parametrize(
    ("mgrs", "text"),
    [
        ((), "active: none"),
        (("node2",), "active: node2"),
        (("node2", "node3", "node1"), "active: node2, standby: node3, node1"),
    ],
)
def test_the_active_mgr_is_the_first(cluster, mgrs, text):
    report = report_of(dataclasses.replace(cluster, mgrs=mgrs))
    assert line("Mgrs", report) == text


def test_osds_are_counted_and_those_that_are_not_well_stand_out(cluster):
    report = report_of(
        changed(changed(cluster, "node2", up=False), "node3", inside=False)
    )
    assert line("OSDs", report) == "3, 2 up, 2 in"
    assert line("node2", report) == "online   osd.1 DOWN 10 %"
    assert line("node3", report) == "online   osd.2 up out 10 %"


def test_placement_groups_are_shown_by_state(cluster):
    states = (("active+clean", 100), ("active+undersized", 28))
    report = report_of(cluster, states=states)
    assert line("Placement", report) == "100 active+clean, 28 active+undersized"
    assert line("Placement", report_of(cluster, states=())) == "no groups"


def test_what_clients_do_is_shown_by_the_second(cluster):
    report = report_of(cluster, read=2**20, written=3 * 2**19)
    assert line("Clients", report) == "1.0 MiB/s read, 1.5 MiB/s written"


# Nodes


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "online"),
        ({"drained": True}, "drained"),
        ({"offline": True}, "offline"),
        ({"offline": True, "drained": True}, "offline"),
    ],
)
def test_a_node_has_its_state_in_ganeti(cluster, changes, state):
    members = [member("node1", **changes)]
    assert line("node1", report_of(cluster), members=members).split()[0] == state


def test_names_of_nodes_and_states_are_columns(cluster):
    members = [member("node1"), member("a-longer-name", drained=True)]
    assert shown(report_of(cluster), members)[-2:] == [
        "node1          online   osd.0 up 10 %",
        "a-longer-name  drained  no OSD",
    ]


def test_osds_are_in_the_order_of_their_numbers(cluster):
    osds = tuple(
        dataclasses.replace(osd, id=number, host="node1")
        for osd, number in zip(cluster.osds, (10, 9, 2), strict=True)
    )
    report = report_of(dataclasses.replace(cluster, osds=osds), osds=())
    assert line("node1", report) == "online   osd.2 up, osd.9 up, osd.10 up"
    assert line("node2", report) == "online   no OSD"


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (OsdUse(0, 1000, 0), "osd.0 up 0 %"),
        (OsdUse(0, 1000, 849), "osd.0 up 84 %"),
        (OsdUse(0, 1000, 1000), "osd.0 up 100 %"),
        # One that is down since the mgr started has none.
        (OsdUse(0, 0, 0), "osd.0 up"),
        (OsdUse(7, 1000, 500), "osd.0 up"),
    ],
)
def test_how_full_an_osd_is_is_shown_where_it_is_known(cluster, use, words):
    report = report_of(cluster, osds=(use,))
    assert line("node1", report) == f"online   {words}"


def node_of(cluster, count, *, down=(), out=()):
    """Return a report in which node1 has so many OSDs, of which some are not well."""
    osd = dataclasses.replace(cluster.osds[0], host="node1", up=True, inside=True)
    osds = tuple(
        dataclasses.replace(osd, id=id, up=id not in down, inside=id not in out)
        for id in range(count)
    )
    use = tuple(OsdUse(id, 1000, 100 + 10 * id) for id in range(count))
    return report_of(dataclasses.replace(cluster, osds=osds), osds=use)


@pytest.mark.parametrize(
    ("count", "wrong", "words"),
    [
        (4, {}, "osd.0 up 10 %, osd.1 up 11 %, osd.2 up 12 %, osd.3 up 13 %"),
        (5, {}, "5 up 10-14 %"),
        (24, {}, "24 up 10-33 %"),
        (24, {"down": {3}}, "23 up 10-33 %, osd.3 DOWN 13 %"),
        (5, {"down": {0}, "out": {0, 4}}, "3 up 11-13 %, osd.0 DOWN out 10 %, osd.4"),
        # As many as are named where all are well.
        (24, {"out": range(4)}, "20 up 14-33 %, osd.0 up out 10 %, osd.1 up out"),
        (24, {"out": range(5)}, "19 up 15-33 %, 5 up out"),
        (24, {"down": range(24), "out": range(20)}, "4 DOWN, 20 DOWN out"),
    ],
)
def test_of_many_osds_those_that_are_not_well_are_named(cluster, count, wrong, words):
    shown = line("node1", node_of(cluster, count, **wrong))
    assert shown.startswith(f"online   {words}")


def test_many_osds_of_which_nobody_knows_how_full_they_are_are_counted(cluster):
    report = dataclasses.replace(node_of(cluster, 24), osds=())
    assert line("node1", report) == "online   24 up"


@pytest.fixture(scope="module")
def large(cluster):
    """150 nodes with 24 OSDs each."""
    osd = dataclasses.replace(cluster.osds[0], up=True, inside=True)
    osds = tuple(
        dataclasses.replace(osd, id=id, host=f"node{id // 24}") for id in range(3600)
    )
    known = [member(f"node{number}") for number in range(150)]
    return dataclasses.replace(cluster, osds=osds), known


def test_150_nodes_with_24_disks_are_one_screen(large):
    cluster, known = large
    use = tuple(OsdUse(id, 1000, 123) for id in range(3600))
    report = report_of(cluster, osds=use)
    lines = shown(report, known)
    assert lines[-1] == "150 nodes are online with 3600 OSDs, all up and in"
    assert len(lines) == 11
    known = [dataclasses.replace(known[0], drained=True), *known[1:]]
    lines = shown(report_of(changed(cluster, "node7", inside=False), osds=use), known)
    assert lines[-3:] == [
        "node0  drained  24 up 12 %",
        "node7  online   24 up out",
        "148 nodes are online with 3552 OSDs, all up and in",
    ]


@pytest.mark.parametrize("wrong", [{"up": False}, {"up": False, "inside": False}])
def test_the_screen_is_bounded_however_much_is_wrong(large, wrong):
    cluster, known = large
    ill = tuple(dataclasses.replace(osd, **wrong) for osd in cluster.osds)
    # In each node one is well, some are not, in all ways.
    mixed = tuple(
        dataclasses.replace(osd, up=osd.id % 3 > 0, inside=osd.id % 4 > 0)
        for osd in cluster.osds
    )
    for osds in (ill, mixed):
        report = report_of(dataclasses.replace(cluster, osds=osds), osds=())
        lines = shown(report, known)
        assert len(lines) == 10 + 24 + 1
        assert max(map(len, lines[10:])) <= 80
        assert lines[-1] == "126 more are not well: 'gnt-cluster verify' names all"


@pytest.mark.parametrize(("count", "lines"), [(24, 24), (25, 1)])
def test_each_node_has_a_line_where_they_are_few(large, count, lines):
    cluster, known = large
    assert len(shown(report_of(cluster, osds=()), known[:count])) == 10 + lines


def test_without_a_node_there_is_a_screen_all_the_same(cluster):
    assert shown(report_of(cluster), members=[])[-1] == ""


# Recovery


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, None),
        ({"recovered": 5, "recovered_bytes": 4096}, None),
        (
            {"degraded": 300},
            "300 of 900 copies missing, nothing moves at the moment",
        ),
        (
            {"misplaced": 1},
            "1 of 900 copies to move, nothing moves at the moment",
        ),
        (
            {"degraded": 300, "recovered": 10, "recovered_bytes": 40 * 2**20},
            "300 of 900 copies missing, 40.0 MiB/s, about 30 s left",
        ),
        (
            {"degraded": 300, "misplaced": 600, "recovered": 5, "recovered_bytes": 9},
            "300 of 900 copies missing, 600 of 900 copies to move, 9 B/s, about 3 min"
            " left",
        ),
    ],
)
def test_recovery_says_how_much_is_left_and_how_long_it_takes(cluster, changes, text):
    assert line("Recovery", report_of(cluster, **changes)) == text


# Numbers


@pytest.mark.parametrize(
    ("used", "total", "text"),
    [
        (0, 0, f"[{'-' * 30}]  0 B of 0 B used (0 %)"),
        (0, GIB, f"[{'-' * 30}]  0 B of 1.0 GiB used (0 %)"),
        (GIB // 2, GIB, f"[{'#' * 15}{'-' * 15}]  512.0 MiB of 1.0 GiB used (50 %)"),
        (GIB, GIB, f"[{'#' * 30}]  1.0 GiB of 1.0 GiB used (100 %)"),
    ],
)
def test_a_bar_is_as_full_as_what_it_is_of(used, total, text):
    assert screen.bar(used, total) == text
