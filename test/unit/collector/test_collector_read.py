"""Ceph's answers taken apart: recorded ones, half ones, and those of a newer Ceph."""

import copy
import json

import pytest
from fakes import RELEASES, recorded
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.collector import read
from ganeti_ceph.collector.facts import ImageIo, Rates
from ganeti_ceph.collector.read import UnreadableError

GIB = 2**30

#: Each reader with the answer that it is for.
READERS = {
    read.fsid: "status",
    read.counts: "status",
    read.quorum: "status",
    read.has_mgr: "status",
    read.groups: "status",
    read.health: "health-detail",
    read.mon_hosts: "mon-metadata",
    read.mgr_hosts: "mgr-metadata",
    read.active_mgr: "mgr-stat",
    read.capacity: "df-detail",
    read.pools: "df-detail",
    read.pool_settings: "osd-pool-ls-detail",
    read.image_pools: "osd-pool-ls-detail",
    read.osds: "osd-df-tree",
    read.latencies: "osd-perf",
    read.devices: "device-ls-by-host",
    read.osd_metadata: "osd-metadata",
    read.image_io: "rbd-perf-image-counters",
}

#: What has names for keys, which something new would be one of.
_NAMED = {"application_metadata", "checks", "pool_descriptors", "progress_events"}


def answer(release, name):
    return json.loads(recorded(release, f"{name}.json"))


@pytest.fixture(params=RELEASES)
def release(request):
    return request.param


def test_a_status_tells_of_mons_osds_and_groups(release):
    status = answer(release, "status")
    assert read.fsid(status) == status["fsid"]
    assert read.quorum(status) == ("node1", "node2", "node3")
    counts = read.counts(status)
    assert (counts.total, counts.up, counts.inside) == (3, 3, 3)
    assert read.has_mgr(status)
    groups = read.groups(status)
    assert groups.states == (("active+clean", 129),)
    assert (groups.total, groups.inactive) == (129, 0)
    # What is 0 is left out there.
    assert groups.recovery.degraded == groups.recovery.objects_rate == 0
    assert groups.recovery.left == 0
    assert groups.recovery.copies is None


def test_a_cluster_that_recovers_says_how_long(release):
    groups = read.groups(answer(release, "status-osd-down"))
    assert groups.recovery.degraded > 0
    assert groups.recovery.copies
    assert groups.recovery.copies >= groups.recovery.degraded
    assert read.counts(answer(release, "status-osd-down")).up == 2
    assert sum(count for _, count in groups.states) == groups.total


def test_a_check_has_its_details(release):
    health = read.health(answer(release, "health-detail-osd-down"))
    assert health.status == "HEALTH_WARN"
    down = next(one for one in health.checks if one.name == "OSD_DOWN")
    assert (down.severity, down.message) == ("HEALTH_WARN", "1 osds down")
    assert down.details and not down.muted
    assert read.health(answer(release, "health-detail")).checks == ()


def test_mons_and_managers_have_hosts_and_versions(release):
    mons = read.mons(answer(release, "mon-dump"), ("node1", "node3"))
    assert [(one.name, one.address, one.in_quorum) for one in mons] == [
        ("node1", "10.77.0.1", True),
        ("node2", "10.77.0.2", False),
        ("node3", "10.77.0.3", True),
    ]
    hosts = read.mon_hosts(answer(release, "mon-metadata"))
    major = {"trixie": "18", "bookworm": "16"}[release]
    assert hosts["node2"][0] == "node2" and hosts["node2"][1].startswith(f"{major}.")
    active = read.active_mgr(answer(release, "mgr-stat"))
    managers = read.mgrs(active, read.mgr_hosts(answer(release, "mgr-metadata")))
    assert [one.name for one in managers] == ["node1", "node2"]
    assert [one.name for one in managers if one.active] == [active]


def test_pools_have_room_and_settings(release):
    pools = {one.name: one for one in read.pools(answer(release, "df-detail"))}
    assert pools["ssd"].quota_bytes == GIB and pools["rbd"].quota_bytes is None
    assert pools["ssd"].usable == GIB
    assert pools["rbd"].usable == pools["rbd"].stored + pools["rbd"].free
    settings = answer(release, "osd-pool-ls-detail")
    assert read.image_pools(settings) == ("rbd",)
    assert read.pool_settings(settings)[pools["rbd"].id]["size"] == 3
    capacity = read.capacity(answer(release, "df-detail"))
    assert capacity.total == 30 * GIB == capacity.used + capacity.free


def test_osds_have_hosts_and_room(release):
    osds = read.osds(answer(release, "osd-df-tree"))
    assert [one.id for one in osds] == [0, 1, 2]
    assert {one.host for one in osds} == {"node1", "node2", "node3"}
    assert all(one.up and one.inside and one.device_class == "hdd" for one in osds)
    assert all(one.size == 10 * GIB and 0 < one.used < GIB for one in osds)
    (mine,) = read.osds(answer(release, "osd-df-tree-node1"))
    assert mine == next(one for one in osds if one.host == "node1")


def test_without_a_manager_osds_are_up_or_down_all_the_same(release):
    slow = read.osds(answer(release, "osd-df-tree"), {1: (0.5, 0.25)})
    assert [(one.commit_latency, one.apply_latency) for one in slow] == [
        *((None, None), (0.5, 0.25), (None, None))
    ]
    osds = read.osds(answer(release, "osd-tree"))
    assert [one.up for one in osds] == [True, True, True]
    assert {one.size for one in osds} == {None}
    (mine,) = read.osds(answer(release, "osd-tree-from"))
    assert mine.host == "node1"
    down = read.osds(answer(release, "osd-df-tree-osd-down"))
    assert sorted(one.up for one in down) == [False, True, True]


def test_an_osd_that_two_trees_hold_is_one():
    tree = answer("trixie", "osd-df-tree")
    tree["nodes"] += tree["nodes"]
    assert len(read.osds(tree)) == 3


def test_latencies_are_seconds(release):
    found = read.latencies(answer(release, "osd-perf"))
    assert sorted(found) == [0, 1, 2]
    assert all(0 <= one < 10 for pair in found.values() for one in pair)
    assert read.latencies(
        {
            "osdstats": {
                "osd_perf_infos": [
                    {
                        "id": 1,
                        "perf_stats": {"commit_latency_ms": 3, "apply_latency_ms": 4},
                    }
                ]
            }
        }
    ) == {1: (0.003, 0.004)}


def test_a_disk_says_when_it_will_fail():
    """Loop devices have no name that Ceph knows; this is of the documented form."""
    (one,) = read.devices(
        [
            {
                "devid": "ACME_X1_S3R",
                "location": [
                    {"host": "node1.example", "dev": "sdb", "path": "/dev/disk/x"}
                ],
                "daemons": ["osd.0"],
                "life_expectancy_min": "2026-12-01T00:00:00.000000+0000",
                "life_expectancy_max": "0.000000",
                "wear_level": 0.5,
            }
        ]
    )
    assert (one.host, one.name, one.daemons, one.wear) == (
        "node1",
        "sdb",
        ("osd.0",),
        0.5,
    )
    assert (one.fails_after, one.fails_before) == (1796083200.0, None)


def test_an_osd_says_its_version_and_devices(release):
    version, devices = read.osd_metadata(answer(release, "osd-metadata"))
    assert version.count(".") == 2 and devices[0].startswith("loop")


def test_image_counters_have_their_image(release):
    found = read.image_io(answer(release, "rbd-perf-image-counters"))
    ((pool, namespace, image),) = found
    assert (pool, namespace) == ("rbd", "") and image.endswith(".rbd.disk0")
    (io,) = found.values()
    assert io.write_bytes > io.write_ops > 0
    assert 0 < io.write_seconds / io.write_ops < 60


def test_an_image_may_lie_in_a_namespace():
    names = ["write_ops", "read_ops", "write_bytes", "read_bytes"]
    found = read.image_io(
        {
            "timestamp": 9.0,
            "counter_descriptors": [*names, "write_latency", "read_latency"],
            "pool_descriptors": {"0": "rbd", "1": "rbd/mine"},
            "counters": [{"1/a/b": [1, 2, 3, 4, 10**9, 2 * 10**9]}],
        }
    )
    assert found == {("rbd", "mine", "a/b"): ImageIo(9.0, 2, 4, 2.0, 1, 3, 1.0)}


def test_rates_are_what_was_done_between_two_readings():
    first = ImageIo(10.0, 1, 100, 0.0, 2, 200, 0.0)
    second = ImageIo(20.0, 11, 1100, 0.0, 4, 700, 0.0)
    assert read.rates(first, second) == Rates(100.0, 50.0, 1.0, 0.2)
    assert read.rates(None, second) is None
    assert read.rates(second, second) is None
    # Another manager begins to count anew.
    assert read.rates(second, ImageIo(30.0, 0, 0, 0.0, 0, 0, 0.0)) is None


@pytest.mark.parametrize(
    ("state", "good"),
    [
        ("active+clean", True),
        ("active+undersized+degraded", True),
        ("peering", False),
        ("stale+active+clean", False),
        ("active+recovery_unfound+degraded", False),
        ("future+active", True),
    ],
)
def test_a_group_serves_or_not(state, good):
    assert read.serves(state) == good


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_what_a_newer_ceph_adds_does_no_harm(reader):
    def more(value):
        if isinstance(value, dict):
            # Not where keys are names.
            named = value.keys() & _NAMED
            found = {
                key: one if key in named else more(one) for key, one in value.items()
            }
            return {**found, "from_the_future": [1]}
        return [more(one) for one in value] if isinstance(value, list) else value

    plain = answer("trixie", READERS[reader])
    told = more(plain)
    if reader is read.image_io:
        told["counters"] = plain["counters"]
    assert reader(told) == reader(plain)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(st.data())
def test_half_an_answer_is_an_error_of_one_kind_or_an_answer(reader, data):
    """Something in it is gone, or is something else."""
    given_answer = answer("trixie", READERS[reader])
    spots = list(_spots(given_answer))
    broken = copy.deepcopy(given_answer)
    odd = st.sampled_from([None, [], {}, "x", -1, 1e400, "NaN", True])
    if spots:
        *way, last = data.draw(st.sampled_from(spots))
        part = broken
        for step in way:
            part = part[step]
        if data.draw(st.booleans()):
            del part[last]
        else:
            part[last] = data.draw(odd)
    else:
        broken = data.draw(odd)
    try:
        reader(broken)
    except UnreadableError as err:
        assert "is not of a known form" in str(err)


def _spots(value, way=()):
    """Give the way to everything in an answer."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in items:
        yield (*way, key)
        yield from _spots(one, (*way, key))
