"""The whole storage cluster from one node: its facts, its pool, and waiting for it."""

import dataclasses
import json

import pytest
from fakes import OTHER_FSID, RELEASES, FakePool, UnknownCallError, recorded

from ganeti_ceph import ceph, plan, wire
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.facts import Osd, OsdUse, Pool, PoolUse, Report, Rule
from ganeti_ceph.node import cluster, members
from ganeti_ceph.steps import AwaitDaemons, AwaitHealth, HandOver, MakePool, Settle

MONS = (Mon("node1", "192.0.2.1"), Mon("node2", "192.0.2.2"))
SETTLE = Settle(MONS, (("one", "1"), ("two", "2")), ("restful",))
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
    rule = Rule("default", "host", None)
    assert Pool("rbd", 3, 2, 128, ("rbd",), rule) in facts.pools
    assert (facts.health, facts.checks) == ("HEALTH_OK", ())


def test_the_parts_of_an_erasure_coded_pool_are_no_copies(storage):
    storage.pools["vms"] = FakePool("vms", 8, "replicated_rule", 3, 2)
    storage.pools["ec"] = FakePool("ec", 8, "ec", 6, 5, coded=True)
    assert {pool.name: pool.coded for pool in cluster.status().pools} == {
        "vms": False,
        "ec": True,
    }


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


def test_what_is_told_of_a_check_goes_with_it(storage):
    told = [{"message": "osd.0 has slow ops"}, {"message": "osd.1 has slow ops"}]
    storage.checks = {
        "SLOW_OPS": check("3 slow ops", detail=told),
        "MON_DISK_LOW": check("node1 is full", detail=[]),
        "OSD_DOWN": check("1 osds down", muted=True, detail=told),
    }
    assert cluster.status().details == (
        ("SLOW_OPS", ("osd.0 has slow ops", "osd.1 has slow ops")),
    )


def test_details_are_not_asked_for_where_all_is_well(storage):
    storage.checks = {"OSD_DOWN": check("1 osds down", muted=True)}
    assert cluster.status().details == ()


def test_a_cluster_that_does_not_answer_is_an_error(storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        cluster.status()


def test_an_osd_is_in_or_out_and_on_its_host(storage):
    storage.osd("a", new=False, up=True, host="node1")
    storage.osd("b", new=False, host="node2", inside=False)
    storage.osd("c", new=False, host="node1")
    # It has no place in the CRUSH map yet.
    storage.osd("d")
    # A host may have no OSD.
    storage.hosts = {"node3"}
    assert cluster.status().osds == (
        Osd(0, "a", True, False, True, "node1", "node1"),
        Osd(1, "b", False, False, False, "node2", "node2"),
        Osd(2, "c", False, False, True, "node1", "node1"),
        Osd(3, "d", False, True, True, None, None),
    )


def test_an_osd_is_of_the_host_that_it_runs_on_wherever_the_crush_map_has_it(storage):
    storage.osd("a", new=False, up=True, host="node1", bucket="node1-fast")
    # Where one will run that never did, only its place tells.
    storage.osd("b", host="node2")
    assert cluster.status().osds == (
        Osd(0, "a", True, False, True, "node1", "node1-fast"),
        Osd(1, "b", False, True, True, "node2", "node2"),
    )


# Versions


def test_one_version_is_that_of_each_host_where_something_runs(storage):
    storage.quorum = ["node1", "node2"]
    storage.mgrs = ["node2", "node4"]
    storage.osd("a", new=False, up=True, host="node5")
    storage.osd("b", new=False, up=False, host="node6")
    one = ("18.2.7",)
    hosts = ("node1", "node2", "node4", "node5")
    assert cluster.status().versions == tuple((host, one) for host in hosts)
    assert "osd metadata" not in [name for name, _ in storage.commands]


def test_of_several_versions_each_host_has_those_that_run_there(storage):
    storage.quorum = ["node1", "node2"]
    storage.mgrs = ["node1"]
    storage.osd("a", new=False, up=True, host="node1")
    storage.osd("b", new=False, up=True, host="node2")
    storage.osd("c", new=False, up=False, host="node4")
    # What does not run is of the version that it had.
    storage.versions = {"osd.0": "18.2.6", "osd.2": "18.2.5", "mon.node3": "18.2.5"}
    assert cluster.status().versions == (
        ("node1", ("18.2.6", "18.2.7")),
        ("node2", ("18.2.7",)),
    )


# Placement groups


def groups(storage, **states):
    """Have the mgr count placement groups in these states."""
    status = storage._status()
    status["pgmap"] = {
        "num_pgs": sum(states.values()),
        "pgs_by_state": [
            {"state_name": name.replace("_", "+"), "count": count}
            for name, count in states.items()
        ],
    }
    storage.answers["status"] = status
    return status


@pytest.mark.parametrize(
    ("states", "inactive"),
    [
        ({}, 0),
        ({"active_clean": 100}, 0),
        ({"active_clean": 90, "active_undersized_degraded": 10}, 0),
        ({"active_clean_scrubbing_deep": 1, "active_remapped_backfilling": 1}, 0),
        ({"active_clean": 90, "peering": 7, "undersized_degraded_peered": 3}, 10),
        ({"unknown": 5}, 5),
        # That it was active is what the last OSD that had it said.
        ({"active_clean": 90, "stale_active_clean": 4}, 4),
        # It is only on its way.
        ({"activating": 2, "active_clean": 1}, 2),
    ],
)
def test_placement_groups_that_serve_nobody_are_counted(storage, states, inactive):
    storage.mgrs = ["node1"]
    groups(storage, **states)
    assert cluster.status().inactive == inactive


def test_placement_groups_in_no_state_serve_nobody(storage):
    storage.mgrs = ["node1"]
    groups(storage, active_clean=5)["pgmap"]["num_pgs"] = 8
    assert cluster.status().inactive == 3


def test_without_a_mgr_nobody_knows_of_placement_groups(storage):
    groups(storage, active_clean=5)
    assert cluster.status().inactive is None


# What it is doing


def df(name, release):
    answer = json.loads(recorded(release, "df-detail.json"))
    return {"pools": [one for one in answer["pools"] if one["name"] == name]}


OSD_DF = {
    "nodes": [
        {"id": 0, "name": "osd.0", "kb": 1000, "kb_used": 250, "kb_avail": 750},
        {"id": 2, "name": "osd.2", "kb": 0, "kb_used": 0, "kb_avail": 0},
    ],
    "stray": [],
}


@pytest.fixture(params=RELEASES)
def busy(request, storage):
    """A cluster that answers as one that was recorded, and does nothing now."""
    storage.mgrs = ["node1"]
    for name in ("status", "mgr dump", "osd dump"):
        text = recorded(request.param, f"{name.replace(' ', '-')}.json")
        storage.answers[name] = json.loads(text)
    storage.answers["df"] = df("ssd", request.param)
    storage.answers["osd df"] = OSD_DF
    return storage


def test_how_full_it_is_is_in_bytes(busy):
    report = cluster.report()
    pgmap = busy.answers["status"]["pgmap"]
    assert (report.size, report.used) == (30 * 2**30, pgmap["bytes_used"])
    (pool,) = busy.answers["df"]["pools"]
    assert report.pools == (
        PoolUse("ssd", pool["stats"]["stored"], pool["stats"]["max_avail"]),
    )
    assert report.osds == (OsdUse(0, 1024000, 256000), OsdUse(2, 0, 0))


def test_a_cluster_that_does_nothing_has_nothing_to_mend(busy):
    report = cluster.report()
    assert report.states == (("active+clean", 129),)
    assert (report.copies, report.degraded, report.misplaced) == (0, 0, 0)
    assert (report.recovered, report.recovered_bytes) == (0, 0)
    assert (report.read, report.written) == (0, 0)


def test_what_it_does_is_told_by_its_own_name(busy):
    busy.answers["status"]["pgmap"] |= {
        "degraded_objects": 1,
        "degraded_total": 40,
        "misplaced_objects": 2,
        "misplaced_total": 50,
        "recovering_objects_per_sec": 3,
        "recovering_bytes_per_sec": 4,
        "read_bytes_sec": 5,
        "write_bytes_sec": 6,
    }
    report = cluster.report()
    assert (report.copies, report.degraded, report.misplaced) == (50, 1, 2)
    assert (report.recovered, report.recovered_bytes) == (3, 4)
    assert (report.read, report.written) == (5, 6)


@pytest.mark.parametrize("name", ["degraded_total", "misplaced_total"])
def test_all_copies_are_counted_whether_missing_or_misplaced(busy, name):
    busy.answers["status"]["pgmap"][name] = 40
    assert cluster.report().copies == 40


def test_the_facts_are_those_of_the_status(busy):
    assert cluster.report().cluster == cluster.status()


def test_a_report_travels(busy):
    report = cluster.report()
    sent = json.loads(json.dumps(wire.encode(report)))
    assert wire.decode(Report, sent) == report


def test_without_a_mgr_the_rest_is_told(storage):
    storage.answers["df"] = {"pools": []}
    # Nobody would answer that.
    with pytest.raises(UnknownCallError):
        ceph.command(storage, "osd df")
    status = storage._status()
    status["pgmap"] |= {"bytes_total": 0}
    storage.answers["status"] = status
    report = cluster.report()
    assert report.osds == ()
    assert report.cluster.inactive is None


def test_a_cluster_that_does_not_answer_has_no_report(storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        cluster.report()


@pytest.mark.parametrize("ask", [cluster.status, cluster.report])
def test_who_looks_does_not_wait_long_for_a_cluster_without_a_quorum(storage, ask):
    storage.reachable = False
    with pytest.raises(CephError):
        ask()
    assert storage.bounds[0]["client_mount_timeout"] == "10"


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


@pytest.fixture
def three(storage):
    """A quorum of three mons, and what calls a fourth one in."""
    storage.quorum = ["node1", "node2", "node3"]
    storage.mons = {name: f"192.0.2.{name[4:]}" for name in storage.quorum}
    return Settle((Mon("node4", "192.0.2.4"),), (), ())


def test_a_mon_that_cannot_join_by_itself_is_called_in_once(storage, clock, three):
    joined = []

    def mon_add(name, addr):
        joined.append((name, addr, clock.now))
        storage.mons[name] = addr
        clock.after(3, lambda: storage.quorum.append(name))

    storage._mon_add = mon_add
    cluster.settle(three)
    ((name, address, moment),) = joined
    assert (name, address) == ("node4", "192.0.2.4")
    assert 1004 < moment < 1006
    assert clock.now < 1015


def test_a_mon_that_joins_by_itself_is_let_be(storage, clock, three):
    clock.after(3, lambda: storage.quorum.append("node4"))
    cluster.settle(three)


def test_a_mon_in_the_map_is_not_added_to_it(storage, clock, three):
    storage.mons["node4"] = "192.0.2.4"
    clock.after(60, lambda: storage.quorum.append("node4"))
    cluster.settle(three)


@pytest.mark.parametrize(
    ("mons", "quorum", "called"),
    [
        # With it in the map, and dead, there would be no quorum.
        (1, 1, False),
        (2, 2, True),
        (3, 2, False),
        (3, 3, True),
        (4, 3, True),
        (5, 3, False),
        (5, 4, True),
    ],
)
def test_a_mon_is_called_in_where_the_others_are_a_quorum_with_it(
    storage, clock, mons, quorum, called
):
    names = [f"node{number}" for number in range(1, mons + 1)]
    storage.mons = dict.fromkeys(names, "192.0.2.1")
    storage.quorum = names[:quorum]
    asked = []

    def mon_add(name, addr):
        asked.append(name)
        storage.mons[name] = addr

    storage._mon_add = mon_add
    with pytest.raises(ExecError, match="not in quorum: node9"):
        cluster.settle(Settle((Mon("node9", "192.0.2.9"),), (), ()))
    assert asked == ["node9"] * called


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
        ("stale+active+clean", False),
        # Some of its data may be on an OSD that is down, and nowhere else.
        ("active+recovery_unfound+degraded+remapped", False),
        ("active+backfill_unfound+remapped", False),
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
        (AwaitDaemons, plan.HEALTH_TIMEOUT),
        (HandOver, members._MGR_TIMEOUT),
    ],
)
def test_the_job_waits_longer_than_the_node_does(kind, waits):
    # The node's error says what is missing, the job's only that time is over.
    assert kind.limit > waits + ceph.TIMEOUT
