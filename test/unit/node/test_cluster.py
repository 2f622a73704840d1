"""The whole storage cluster from one node: its facts, its pool, and waiting for it."""

import dataclasses
import json

import pytest
from fakes import OTHER_FSID, RELEASES, FakePool, recorded

from ganeti_ceph import ceph, plan
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.facts import Osd, Pool
from ganeti_ceph.node import cluster
from ganeti_ceph.steps import AwaitHealth, MakePool, Settle

SETTLE = Settle(("node1", "node2"), (("one", "1"), ("two", "2")), ("restful",))
POOL = MakePool("vms", 3, 2, 128, "host", None, 3)
HEALTH = AwaitHealth(30)

# Its facts


@pytest.mark.parametrize("release", RELEASES)
def test_the_facts_are_those_that_ceph_tells(storage, release):
    for command in ("mon dump", "mgr dump", "osd dump", "health", "quorum_status"):
        name = command.replace(" ", "-").replace("_", "-")
        storage.answers[command] = json.loads(recorded(release, f"{name}.json"))
    facts = cluster.status()
    assert facts.fsid == storage.answers["mon dump"]["fsid"]
    assert facts.mons[0] == Mon("node1", "10.77.0.1")
    assert sorted(facts.quorum) == ["node1", "node2", "node3"]
    assert sorted(facts.mgrs) == ["node1", "node2"]
    assert [(osd.id, osd.up, osd.new) for osd in facts.osds] == [
        (0, True, False),
        (1, True, False),
        (2, True, False),
    ]
    assert Pool("rbd", 3, 2, 128, ("rbd",)) in facts.pools
    assert (facts.health, facts.checks) == ("HEALTH_OK", ())


def test_an_osd_that_never_ran_is_new(storage):
    storage.osd(OTHER_FSID, new=True)
    assert cluster.status().osds == (Osd(0, OTHER_FSID, False, True),)


def test_the_mgr_that_acts_comes_first(storage):
    storage.mgrs = ["node2", "node1"]
    assert cluster.status().mgrs == ("node2", "node1")


def test_a_cluster_may_have_no_mgr_osd_or_pool(storage):
    facts = cluster.status()
    assert (facts.mgrs, facts.osds, facts.pools) == ((), (), ())


def test_a_mon_may_have_an_ipv6_address(storage):
    storage.mons = {"node1": "[2001:db8::1]"}
    assert cluster.status().mons == (Mon("node1", "2001:db8::1"),)


def check(message, **changes):
    return {"summary": {"message": message}, **changes}


def test_what_is_not_good_is_a_sentence_each_but_what_is_muted(storage):
    storage.checks = {
        "SLOW_OPS": check("3 slow ops"),
        "MON_DISK_LOW": check("node1 is full", muted=False),
        "OSD_DOWN": check("1 osds down", muted=True),
    }
    facts = cluster.status()
    assert facts.health == "HEALTH_WARN"
    assert facts.checks == ("MON_DISK_LOW: node1 is full", "SLOW_OPS: 3 slow ops")


def test_a_cluster_that_does_not_answer_is_an_error(storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        cluster.status()


# The quorum


def test_settings_are_made_and_modules_turned_off(storage, clock):
    assert cluster.settle(SETTLE) == "mons node1, node2 are in quorum"
    assert storage.settings == {"one": "1", "two": "2"}
    assert storage.modules_off == {"restful"}


def test_all_mons_are_waited_for(storage, clock):
    storage.quorum = ["node1"]
    clock.after(20, lambda: storage.quorum.append("node2"))
    cluster.settle(SETTLE)
    assert 1020 <= clock.now < 1025


def test_nobody_waits_for_what_is_there(storage, clock):
    cluster.settle(SETTLE)
    assert clock.now == 1000


def test_a_mon_that_does_not_come_is_named(storage, clock):
    storage.quorum = ["node1"]
    with pytest.raises(ExecError, match="not in quorum: node2"):
        cluster.settle(SETTLE)
    assert storage.settings == {}


def test_other_mons_are_not_waited_for(storage, clock):
    storage.quorum = ["node1", "node2"]
    cluster.settle(SETTLE)
    assert clock.now == 1000


# The pool


@pytest.fixture
def osds(storage, clock):
    """Three OSDs that are up."""
    return [storage.osd(f"uuid-{index}", up=True) for index in range(3)]


def test_the_pool_is_what_was_asked_for(storage, osds):
    assert cluster.make_pool(POOL) == "pool vms is there"
    assert storage.pools == {
        "vms": FakePool("vms", 128, "replicated_rule", 3, 2, {"rbd"})
    }


@pytest.mark.parametrize(("size", "least"), [(2, 1), (2, 2), (3, 1), (4, 2), (4, 4)])
def test_copies_and_their_minimum_are_set(storage, osds, size, least):
    cluster.make_pool(dataclasses.replace(POOL, size=size, min_size=least))
    pool = storage.pools["vms"]
    assert (pool.size, pool.min_size) == (size, least)


def test_a_single_copy_is_had_where_it_is_allowed(storage, osds):
    single = dataclasses.replace(POOL, size=1, min_size=1)
    with pytest.raises(CephError, match="disabled by default"):
        cluster.make_pool(single)
    storage.settings["mon_allow_pool_size_one"] = "true"
    cluster.make_pool(single)
    pool = storage.pools["vms"]
    assert (pool.size, pool.min_size) == (1, 1)


@pytest.mark.parametrize(
    ("domain", "device_class", "rule"),
    [
        ("host", None, "replicated_rule"),
        ("rack", None, "ganeti-rack"),
        ("host", "ssd", "ganeti-host-ssd"),
        ("osd", "ssd", "ganeti-osd-ssd"),
    ],
)
def test_copies_are_spread_as_asked(storage, osds, domain, device_class, rule):
    osds[0].device_class = "ssd"
    cluster.make_pool(
        dataclasses.replace(POOL, failure_domain=domain, device_class=device_class)
    )
    assert storage.pools["vms"].rule == rule
    assert storage.rules[rule] == (domain, device_class)


@pytest.mark.parametrize(
    "half",
    [
        FakePool("vms", 128, "replicated_rule"),
        FakePool("vms", 128, "replicated_rule", 2, 1),
        FakePool("vms", 128, "replicated_rule", 5, 3, {"mine"}),
    ],
)
def test_a_half_made_pool_is_finished(storage, osds, half):
    storage.pools["vms"] = half
    cluster.make_pool(POOL)
    made = storage.pools["vms"]
    assert (made.size, made.min_size) == (3, 2)
    assert "rbd" in made.applications


def test_a_finished_pool_keeps_what_was_changed_since(storage, osds):
    changed = FakePool("vms", 256, "replicated_rule", 5, 3, {"rbd"})
    storage.pools["vms"] = dataclasses.replace(changed)
    cluster.make_pool(POOL)
    assert storage.pools == {"vms": changed}


@pytest.mark.parametrize(
    ("state", "good"),
    [
        ("active+clean", True),
        ("active+clean+scrubbing+deep", True),
        ("active+remapped+backfilling", True),
        ("active+undersized+degraded", False),
        ("peering", False),
        ("stale+clean", False),
    ],
)
def test_a_placement_group_is_good_where_it_has_and_serves_all(state, good):
    assert cluster._is_good(state) == good


def test_what_a_pool_is_used_for_besides_stays(storage, osds):
    storage.pools["vms"] = FakePool("vms", 128, "replicated_rule", 3, 2, {"mine"})
    cluster.make_pool(POOL)
    assert storage.pools["vms"].applications == {"mine", "rbd"}


def test_other_pools_are_left_alone(storage, osds):
    storage.pools["mine"] = FakePool("mine", 8, "replicated_rule", 5, 4)
    cluster.make_pool(POOL)
    assert storage.pools["mine"] == FakePool("mine", 8, "replicated_rule", 5, 4)


def test_another_pool_that_is_finished_is_not_taken_for_ours(storage, osds):
    storage.pools["mine"] = FakePool("mine", 128, "replicated_rule", 3, 2, {"rbd"})
    storage.pools["vms"] = FakePool("vms", 128, "replicated_rule", 2, 1)
    cluster.make_pool(POOL)
    pool = storage.pools["vms"]
    assert (pool.size, pool.min_size, pool.applications) == (3, 2, {"rbd"})


def test_a_class_of_devices_is_there_once_osds_have_begun(storage, clock):
    osds = [storage.osd(f"uuid-{index}") for index in range(3)]

    def begin():
        for one in osds:
            one.placed, one.device_class = True, "ssd"

    def come():
        for one in osds:
            one.up = True

    clock.after(20, begin)
    clock.after(40, come)
    cluster.make_pool(dataclasses.replace(POOL, device_class="ssd"))
    assert storage.pools["vms"].rule == "ganeti-host-ssd"


def test_the_pool_waits_until_enough_osds_are_up(storage, osds, clock):
    osds[2].up = False
    clock.after(20, lambda: setattr(osds[2], "placed", True))
    clock.after(40, lambda: setattr(osds[2], "up", True))
    cluster.make_pool(POOL)
    assert 1040 <= clock.now < 1045


def test_osds_that_never_come_are_counted(storage, osds, clock):
    osds[2].up = False
    with pytest.raises(ExecError, match=r"still 2 OSDs .* of 3 needed"):
        cluster.make_pool(POOL)


def test_osds_that_begin_and_never_come_up_are_counted(storage, osds, clock):
    osds[2].up, osds[2].placed = False, True
    with pytest.raises(ExecError, match="still 2 OSDs are up of 3 needed"):
        cluster.make_pool(POOL)


def test_more_osds_than_needed_are_not_waited_for(storage, osds, clock):
    storage.osd("late")
    cluster.make_pool(POOL)
    assert clock.now == 1000


# The health


@pytest.fixture
def healthy(storage, clock):
    """A cluster with a mgr and a pool."""
    storage.mgrs = ["node1"]
    storage.pools["vms"] = FakePool("vms", 128, "replicated_rule")
    return storage


def test_a_healthy_cluster_is_not_waited_for(healthy, clock):
    assert cluster.await_health(HEALTH) == "the storage cluster is healthy"
    assert clock.now == 1000


def test_health_is_waited_for(healthy, clock):
    healthy.checks = {"OSD_DOWN": check("1 osds down")}
    clock.after(20, healthy.checks.clear)
    cluster.await_health(HEALTH)
    assert 1020 <= clock.now < 1025


def test_what_is_not_good_is_told_when_the_time_is_over(healthy, clock):
    healthy.checks = {"OSD_DOWN": check("1 osds down")}
    with pytest.raises(ExecError) as caught:
        cluster.await_health(HEALTH)
    assert str(caught.value) == ("after 30 s still HEALTH_WARN: OSD_DOWN: 1 osds down")
    assert 1030 <= clock.now < 1035


def test_what_the_administrator_muted_is_no_trouble(healthy, clock):
    healthy.checks = {"OSD_DOWN": check("1 osds down", muted=True)}
    cluster.await_health(HEALTH)


def test_placement_groups_that_are_not_clean_are_waited_for(healthy, clock):
    healthy.unclean = 3
    with pytest.raises(ExecError, match="3 placement groups are not clean"):
        cluster.await_health(HEALTH)
    clock.after(5, lambda: setattr(healthy, "unclean", 0))
    cluster.await_health(HEALTH)


def test_placement_groups_that_no_mgr_has_heard_of_are_not_clean(healthy, clock):
    status = healthy._status()
    status["pgmap"] = {"num_pgs": 0, "pgs_by_state": []}
    healthy.answers["status"] = status
    with pytest.raises(ExecError, match="128 placement groups are not clean"):
        cluster.await_health(HEALTH)


def test_a_cluster_without_a_mgr_is_not_healthy_whatever_it_says(healthy, clock):
    healthy.mgrs = []
    with pytest.raises(ExecError, match="no mgr is active"):
        cluster.await_health(HEALTH)


# Time limits


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        (Settle, 2 * cluster._QUORUM_TIMEOUT),
        (MakePool, 2 * cluster._OSD_TIMEOUT),
        (AwaitHealth, plan.HEALTH_TIMEOUT),
    ],
)
def test_the_job_waits_longer_than_the_node_does(kind, waits):
    # The node's error says what is missing, the job's only that time is over.
    assert kind.limit > waits + ceph.TIMEOUT
