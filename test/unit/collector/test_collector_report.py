"""What Ganeti's format has of a sample."""

import dataclasses
import json

import pytest
from collector.samples import (
    GIB,
    GROUPS,
    MOVING,
    NOW,
    check,
    daemon,
    image,
    osd,
    sample,
    silent,
    warns,
)

from ganeti_ceph.collector import report
from ganeti_ceph.collector.facts import Health, Mon


def data(name, **changes):
    return report.report(sample(**changes), name)["data"]


def status(name, **changes):
    found = data(name, **changes)["status"]
    return found["code"], found["message"]


@pytest.mark.parametrize("name", sorted(report.COLLECTORS))
@pytest.mark.parametrize("one", [sample(), silent()], ids=["well", "silent"])
def test_a_report_has_the_fields_of_ganetis_format(name, one):
    found = json.loads(json.dumps(report.report(one, name)))
    assert found["name"] == name
    assert (found["category"], found["kind"]) == ("storage", 1)
    assert found["timestamp"] == 1_795_253_905_250_000_000
    assert found["data"]["node"] == "node1.example"


def test_all_reports_are_those_of_all_collectors():
    assert [one["name"] for one in report.all_reports(sample())] == [
        "ceph-cluster",
        "ceph-node",
        "ceph-disks",
    ]


@pytest.mark.parametrize("name", sorted(report.COLLECTORS))
def test_a_healthy_cluster_is_well(name):
    assert status(name) == (report.OK, "")


def test_a_check_says_what_to_do_about_it():
    health = warns(check("OSD_NEARFULL", "1 nearfull osd(s)"), check("NEW_ONE", "odd"))
    code, message = status("ceph-cluster", health=health)
    assert code == report.BAD
    assert message == (
        "1 nearfull osd(s) (OSD_NEARFULL); add disks or nodes, or remove data;"
        " odd (NEW_ONE); 'ceph health detail' tells more of it"
    )
    first, second = data("ceph-cluster", health=health)["health"]["checks"]
    assert first["remedy"] == "add disks or nodes, or remove data"
    assert second == {
        "name": "NEW_ONE",
        "severity": "HEALTH_WARN",
        "message": "odd",
        "details": ["a detail"],
        "muted": False,
        "remedy": "'ceph health detail' tells more of it",
    }


def test_data_on_its_way_is_being_mended():
    health = warns(check("PG_DEGRADED"), check("OBJECT_MISPLACED"))
    assert status("ceph-cluster", health=health, groups=MOVING)[0] == report.MENDING
    assert status("ceph-cluster", health=health, groups=GROUPS)[0] == report.BAD
    down = warns(check("PG_DEGRADED"), check("OSD_DOWN", "1 osds down"))
    code, message = status("ceph-cluster", health=down, groups=MOVING)
    assert code == report.BAD
    assert message.index("(OSD_DOWN)") < message.index("(PG_DEGRADED)")


def test_a_muted_check_is_told_and_not_minded():
    health = Health("HEALTH_OK", (check("X", muted=True),))
    assert status("ceph-cluster", health=health) == (report.OK, "")
    assert data("ceph-cluster", health=health)["health"]["checks"][0]["muted"]


def test_a_health_without_checks_is_still_not_well():
    assert status("ceph-cluster", health=Health("HEALTH_ODD", ())) == (
        report.BAD,
        "HEALTH_ODD",
    )


def test_what_is_not_known_is_said_once_with_its_age():
    found = report.report(silent("no mon answers"), "ceph-cluster")["data"]
    assert found["status"] == {
        "code": report.UNKNOWN,
        "message": "health, mons, mgrs, counts, groups, capacity, pools not known:"
        " no mon answers",
    }
    assert found["health"] is None and found["osds"] is None
    assert found["capacity"] is None and found["recovery"] is None
    first = found["unknown"][0]
    assert first["part"] == "health"
    assert first["last_known"] == int((NOW - 60) * 1e6) * 1000


def test_the_cluster_has_numbers_of_capacity_and_recovery():
    found = data("ceph-cluster", groups=MOVING)
    assert found["osds"] == {"total": 3, "up": 3, "in": 3}
    assert found["capacity"]["raw"]["used"] == 3 * GIB
    assert found["capacity"]["usable"] == {
        "total": 10 * GIB,
        "used": GIB,
        "free": 9 * GIB,
    }
    assert found["recovery"]["seconds_left"] == 10
    assert found["recovery"]["progress"] == [{"message": "Rebalancing", "done": 0.5}]
    assert found["clients"]["write_bytes_per_second"] == 2.5
    assert found["placement_groups"]["states"]["active+clean"] == 100
    assert [one["node"] for one in found["mons"]] == [
        "node1.example",
        "node2.example",
        "node3.example",
    ]


def test_a_quota_limits_what_a_pool_can_hold():
    pool = dataclasses.replace(sample().pools[0], quota_bytes=2 * GIB)
    assert data("ceph-cluster", pools=(pool,))["pools"][0]["usable"] == 2 * GIB


@pytest.mark.parametrize(
    "changes, code, words",
    [
        ({"daemons": (daemon("osd", "0", state="failed"),)}, 4, "osd.0 is failed"),
        ({"daemons": (daemon("osd", "0", state="activating"),)}, 1, "osd.0 is activa"),
        ({"osds": (osd(0, up=False),)}, 4, "osd.0 is down"),
        ({"osds": (osd(0), osd(9, host="node1"))}, 4, "osd.9 has no service here"),
        ({"mons": (Mon("node1", "10.77.0.1", False),)}, 4, "mon.node1 is not in quor"),
    ],
)
def test_a_node_is_judged_by_its_daemons(changes, code, words):
    found = status("ceph-node", **changes)
    assert found[0] == code
    assert words in found[1]


def test_what_is_wrong_elsewhere_is_not_this_nodes():
    others = (osd(0), osd(1, up=False))
    mons = (Mon("node1", "10.77.0.1", True), Mon("node2", "10.77.0.2", False))
    assert status("ceph-node", osds=others, mons=mons) == (report.OK, "")


def test_a_daemon_is_told_of_by_system_and_cluster():
    mgr, mon, disk = data("ceph-node")["daemons"]
    assert (mgr["type"], mgr["id"], mgr["active"]) == ("mgr", "node1", True)
    assert (mon["type"], mon["in_quorum"]) == ("mon", True)
    assert disk["uptime"] == 60 and disk["memory"] == 2**27
    assert disk["up"] is True and disk["utilisation"] == 0.1
    assert disk["commit_latency"] == 0.002 and disk["devices"] == ["sdb"]


def test_an_osd_without_a_service_is_told_of_too():
    found = data("ceph-node", daemons=())["daemons"]
    assert [(one["type"], one["id"], one["state"]) for one in found] == [
        ("osd", "0", None)
    ]


def test_while_nothing_is_known_of_daemons_there_is_no_list():
    assert data("ceph-node", daemons=None, osds=None)["daemons"] is None


def test_instances_of_the_same_name_in_two_clusters_are_two():
    here = image(0)
    use = dataclasses.replace(here.use, cluster="another.example")
    there = dataclasses.replace(here, name="other.rbd.disk0", use=use)
    found = data("ceph-disks", images=(here, there))["instances"]
    assert [(one["name"], one["cluster"], len(one["disks"])) for one in found] == [
        ("web0.example", "another.example", 1),
        ("web0.example", "cluster.example", 1),
    ]


def test_instances_have_their_disks_in_order():
    second = image(0, name="a-second")
    second = dataclasses.replace(
        second, use=dataclasses.replace(second.use, disk="1", lock_owner=None)
    )
    images = (second, image(0), image(1, use=None))
    found = data("ceph-disks", images=images)
    assert [one["name"] for one in found["instances"]] == ["web0.example"]
    first, other = found["instances"][0]["disks"]
    assert (first["disk"], first["watchers"]) == ("0", ["node1.example"])
    assert first["lock_owner"] == "node1.example" and other["lock_owner"] is None
    assert (first["provisioned"], first["used"]) == (GIB, 2**20)
    assert [one["image"] for one in found["others"]] == ["0a-1.rbd.disk0"]


def test_others_say_which_collector_has_the_images():
    found = data("ceph-disks", leader="node2", images=None)
    assert found["status"]["code"] == report.OK
    assert found["told_by"] == "node2.example" and found["instances"] is None


def test_images_that_nobody_looked_at_yet_leave_doubt():
    some = image(0), image(1, use=None), image(2, use=None)
    code, message = status("ceph-disks", images=some)
    assert (code, message) == (report.UNKNOWN, "2 of 3 not looked at yet")
    assert status("ceph-disks", images=some[:1])[0] == report.OK


def test_the_disks_of_other_nodes_are_left_out():
    (own,) = sample().devices
    other = dataclasses.replace(own, host="node9", name="sdz")
    (told,) = data("ceph-node", devices=(other, own))["devices"]
    assert told["device"] == own.name
    assert data("ceph-node", devices=None)["devices"] is None


def test_images_that_cannot_be_opened_leave_doubt():
    broken = tuple(image(one, error="timed out", use=None) for one in range(3))
    code, message = status("ceph-disks", images=broken)
    assert code == report.UNKNOWN
    assert message == "rbd/0a-0.rbd.disk0 cannot be opened: timed out, so 2 more"
