"""What Prometheus gets of a sample."""

import dataclasses

import pytest
from collector.samples import (
    GROUPS,
    IO,
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
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ganeti_ceph.collector import metrics
from ganeti_ceph.collector.facts import Gap, Names


class _Given:
    def __init__(self, one):
        self.one = one

    def collect(self):
        return metrics.families(self.one)


def by_library(one):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(one))
    return generate_latest(registry)


def parsed(text):
    """Return all that a text says, apart from how numbers are written."""
    return list(text_string_to_metric_families(text.decode()))


def layout(text):
    """Return a text without its numbers."""
    lines = text.decode().split("\n")
    return [one if one[:1] == "#" else one.rpartition(" ")[0] for one in lines]


def value(one, name, **labels):
    """Return the number with these labels, None if there is none."""
    found = [
        line.value
        for family in text_string_to_metric_families(metrics.text(one).decode())
        for line in family.samples
        if line.name == f"ganeti_ceph_{name}" and labels.items() <= line.labels.items()
    ]
    assert len(found) < 2, found
    return found[0] if found else None


@pytest.mark.parametrize(
    "one",
    [
        sample(),
        sample(leader="node2", images=None),
        sample(groups=MOVING, health=warns(check("OSD_DOWN"))),
        silent(),
    ],
    ids=["leader", "another", "recovering", "silent"],
)
def test_the_text_is_what_the_library_writes(one):
    assert parsed(metrics.text(one)) == parsed(by_library(one))
    assert layout(metrics.text(one)) == layout(by_library(one))


@given(st.text(min_size=1), st.floats(allow_nan=False), st.integers(0, 2**63))
def test_names_and_numbers_of_any_kind_are_written_as_the_library_does(
    name, rate, count
):
    names = Names(name, (), (("node1", name),))
    strange = sample(
        names=names,
        seconds=rate,
        osds=(osd(0, device_class=name, size=count),),
        images=(image(0, name=name),),
    )
    assert parsed(metrics.text(strange)) == parsed(by_library(strange))
    assert layout(metrics.text(strange)) == layout(by_library(strange))
    assert value(strange, "osd_size_bytes", daemon="osd.0") == float(count)


def test_every_name_is_told_once_and_begins_alike():
    families = metrics.families(sample(groups=MOVING, health=warns(check("X"))))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(name.startswith("ganeti_ceph_") for name in names)
    assert all(family.documentation.endswith(".") for family in families)


def test_the_cluster_and_the_images_are_told_by_the_leader_alone():
    leader, other = sample(), sample(leader="node2", images=None)
    for name in (
        "health_status",
        "osds",
        "raw_size_bytes",
        "client_read_ops_per_second",
    ):
        assert value(leader, name) is not None
        assert value(other, name) is None
    assert value(leader, "image_used_bytes", instance_name="web0.example") == 2**20
    assert value(leader, "leader", node="node1.example") == 1
    assert value(other, "leader", node="node1.example") == 0
    assert value(other, "osd_up") is None
    assert value(other, "daemon_running", daemon="osd.0") == 1


@pytest.mark.parametrize(
    "status, number",
    [("HEALTH_OK", 0), ("HEALTH_WARN", 1), ("HEALTH_ERR", 2), ("X", 2)],
)
def test_health_is_a_number(status, number):
    health = type(warns())(status, (check("A"), check("B", muted=True)))
    assert value(sample(health=health), "health_status") == number
    assert value(sample(health=health), "health_check", check="A") == 1
    assert value(sample(health=health), "health_check", check="B") == 0


def test_what_is_not_known_has_no_number():
    one = silent()
    assert value(one, "up") == 0
    assert value(one, "part_known", part="health") == 0
    assert value(one, "part_known", part="daemons") == 1
    assert value(one, "daemon_memory_bytes", daemon="osd.0") == 2**27
    text = metrics.text(one).decode()
    assert "health_status" not in text and "_osds" not in text


def test_a_storage_cluster_of_which_one_answer_is_odd_did_answer():
    one = sample(health=None, gaps=(Gap("health", "half an answer", None),))
    assert value(one, "up") == 1
    assert value(one, "part_known", part="health") == 0


def test_recovery_that_stands_still_has_no_end():
    assert value(sample(groups=MOVING), "recovery_left_seconds") == 10
    assert value(sample(), "recovery_left_seconds") == 0
    still = MOVING.__class__(
        **{
            **vars(MOVING),
            "recovery": MOVING.recovery.__class__(300, 60, 20, 0, 0.0, 0.0),
        }
    )
    assert value(sample(groups=still), "recovery_left_seconds") is None


def test_where_nobody_tells_what_is_missing_it_is_not_known_how_long_it_takes():
    lost = dataclasses.replace(GROUPS, states=(("unknown", 128),), inactive=128)
    assert value(sample(groups=lost), "recovery_left_seconds") is None
    moving = dataclasses.replace(MOVING, inactive=1)
    assert value(sample(groups=moving), "recovery_left_seconds") == 10


def test_an_image_is_told_of_with_its_instance_and_who_has_it_open():
    one = sample(images=(image(0, io=IO), image(1, use=None)))
    labels = {"instance_name": "web0.example", "disk": "0", "pool": "rbd"}
    assert value(one, "image_provisioned_bytes", **labels) == 2**30
    assert value(one, "image_read_timestamp_seconds", **labels) == NOW - 5
    assert value(one, "image_open", node="node1.example", **labels) == 1
    assert value(one, "image_write_bytes_total", **labels) == 7168
    assert value(one, "image_read_seconds_total", **labels) == 0.5
    assert value(one, "image_provisioned_bytes", image="0a-1.rbd.disk0") is None


def test_a_node_that_has_an_image_open_twice_is_told_of_once():
    names = Names("c", (("10.77.0.1", "node1"), ("10.78.0.1", "node1")), ())
    opened = image(0)
    use = dataclasses.replace(opened.use, watchers=("10.77.0.1", "10.78.0.1"))
    one = sample(names=names, images=(dataclasses.replace(opened, use=use),))
    assert value(one, "image_open") == 1


def test_daemons_of_this_node_have_memory_age_and_restarts():
    one = sample(daemons=(daemon("osd", "7", restarts=3, version=None),))
    labels = {"node": "node1.example", "daemon": "osd.7"}
    assert value(one, "daemon_restarts_total", **labels) == 3
    assert value(one, "daemon_start_time_seconds", **labels) == NOW - 60
    assert value(one, "daemon_info", version="", devices="sdb", **labels) == 1
    dead = sample(daemons=(daemon("osd", "7", state="failed", pid=None, memory=None),))
    assert value(dead, "daemon_running", **labels) == 0
    assert value(dead, "daemon_memory_bytes", **labels) is None


def test_a_disk_that_is_about_to_fail_says_when():
    device = sample().devices[0]
    soon = type(device)(**{**vars(device), "fails_after": NOW, "fails_before": NOW + 9})
    one = sample(devices=(soon, type(device)(**{**vars(soon), "host": "node2"})))
    labels = {"device": "sdb", "device_id": "ACME_1", "node": "node1.example"}
    name = "device_failure_earliest_timestamp_seconds"
    assert value(one, name, **labels) == NOW
    assert value(one, "device_wear_ratio", **labels) == 0.25
