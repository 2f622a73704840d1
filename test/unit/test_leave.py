"""Leaving: what is refused, in what order the rest is done, and that Ceph survives."""

import dataclasses
import functools

import pytest
from fakes import FSID, make_cluster, make_node, make_nodes
from hypothesis import given
from hypothesis import strategies as st
from outcome import KEYS, carry_out, changed, finished

from ganeti_ceph import leave, plan
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.facts import Osd, OsdUse, Pool, Report, Rule
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Stage
from ganeti_ceph.steps import (
    ForgetHost,
    HandOver,
    MakeMgr,
    MarkOsds,
    RemoveMon,
    StopDaemons,
)

PARAMS = StorageParameters(disks=("/dev/sdb",))
STOP = StopDaemons(("node1",), ("node1",), (0,))


def cluster_of(mons=3, silent=(), **changes):
    """Return a cluster with so many mons, node1 and on, of which some are silent."""
    names = [f"node{number}" for number in range(1, mons + 1)]
    return make_cluster(
        mons=tuple(Mon(name, f"192.0.2.{name[4:]}") for name in names),
        quorum=tuple(name for name in names if name not in silent),
        **changes,
    )


def osd(number, host="node1", **changes):
    values = {"up": True, "new": False, "inside": True, "host": host, "bucket": host}
    values.update(changes)
    return Osd(number, f"uuid-of-{number}", **values)


def pool(size, name="rbd"):
    return Pool(name, size, 1, 128, ("rbd",))


# What a host has


def test_osds_are_those_of_the_host_alone():
    osds = (osd(0), osd(1, "node2"), osd(2, None), osd(3))
    cluster = make_cluster(osds=osds)
    assert leave.osds_of(cluster, "node1") == [osds[0], osds[3]]
    assert leave.osds_of(cluster, "node3") == []


def test_without_a_host_the_others_keep_their_mons_and_mgrs():
    before = cluster_of(3, silent=("node3",), mgrs=("node2", "node1"), osds=(osd(0),))
    rest = leave.without(before, "node2", ("node2",))
    assert [mon.id for mon in rest.mons] == ["node1", "node3"]
    assert (rest.quorum, rest.mgrs) == (("node1",), ("node1",))
    assert rest.osds == before.osds


def test_a_mon_that_stays_in_the_map_is_no_longer_in_quorum():
    rest = leave.without(cluster_of(3), "node2", ())
    assert [mon.id for mon in rest.mons] == ["node1", "node2", "node3"]
    assert rest.quorum == ("node1", "node3")


# Offline: what Ceph loses


@pytest.mark.parametrize(
    ("mgrs", "others", "refused"),
    [
        ((), 0, False),
        (("node1",), 0, True),
        # There it is made anew before.
        (("node1",), 1, False),
        (("node2",), 0, False),
        (("node1", "node2"), 0, False),
        (("node2", "node1"), 0, False),
    ],
)
def test_the_last_mgr_is_not_stopped_unasked(mgrs, others, refused):
    found = leave.offline_refusals(make_cluster(mgrs=mgrs), "node1", None, others)
    assert ["the only mgr" in one for one in found] == [True] * refused


def test_what_ceph_has_against_it_is_said():
    cluster = make_cluster(mgrs=("node1", "node2"))
    assert leave.offline_refusals(cluster, "node1", None, 0) == []
    (found,) = leave.offline_refusals(cluster, "node1", "3 PGs would be offline", 0)
    assert "out of reach: 3 PGs would be offline" in found


def test_everything_that_would_be_lost_is_said_at_once():
    cluster = make_cluster(mgrs=("node1",))
    assert len(leave.offline_refusals(cluster, "node1", "3 PGs", 0)) == 2


@pytest.mark.parametrize(
    ("silence", "up", "quorum", "refused"),
    [
        ("refused", True, (), True),
        ("refused", False, ("node1",), True),
        # It is as dead as it seems.
        ("refused", False, ("node2",), False),
        (None, True, ("node1",), False),
    ],
)
def test_a_node_whose_daemons_run_is_not_taken_for_dead(silence, up, quorum, refused):
    cluster = make_cluster(
        mgrs=("node2",), osds=(osd(0, up=up), osd(1, "node2")), quorum=quorum
    )
    found = leave.offline_refusals(cluster, "node1", None, 1, silence=silence)
    assert ["does not answer (refused)" in one for one in found] == [True] * refused


@pytest.mark.parametrize(("up", "refused"), [(True, True), (False, False)])
def test_ceph_may_not_have_missed_another_that_is_offline(up, refused):
    cluster = make_cluster(mgrs=("node2",), osds=(osd(0), osd(1, "node3", up=up)))
    found = leave.offline_refusals(cluster, "node1", None, 1, offline=["node3"])
    assert ["OSDs of node3, which is offline, run" in one for one in found] == (
        [True] * refused
    )


# Offline: the quorum


@pytest.mark.parametrize(
    ("mons", "silent", "host", "missing"),
    [
        (2, (), "node1", None),
        (3, (), "node1", None),
        (3, ("node3",), "node1", "node3"),
        (3, ("node3",), "node3", None),
        (4, ("node4",), "node1", None),
        (5, (), "node1", None),
        (5, ("node5",), "node1", None),
        (5, ("node4", "node5"), "node1", "node4, node5"),
        (5, ("node4", "node5"), "node4", None),
    ],
)
def test_more_than_half_of_the_other_mons_answer(mons, silent, host, missing):
    found = leave.quorum_refusals(cluster_of(mons, silent), host)
    assert bool(found) == (missing is not None)
    if found:
        assert f"mons {missing} do not answer" in found[0]


@pytest.mark.parametrize(("offline", "refused"), [((), True), (("node3",), False)])
def test_mons_of_nodes_that_are_offline_go_first(offline, refused):
    found = leave.quorum_refusals(cluster_of(3, ("node3",)), "node1", offline)
    assert bool(found) == refused


@pytest.mark.parametrize(
    ("mons", "silent", "answers", "moved", "offline", "removed"),
    [
        # Three need two, and so do two.
        (3, (), True, False, (), ()),
        (5, (), True, False, (), ()),
        (1, (), True, False, (), ()),
        # Four need three.
        (2, (), True, False, (), ("node1",)),
        (4, (), True, False, (), ("node1",)),
        (3, (), True, True, (), ("node1",)),
        (3, (), False, False, (), ("node1",)),
        (3, ("node1",), False, False, (), ("node1",)),
        # One that was silent itself does not count as another.
        (3, ("node1",), True, False, (), ()),
        (5, ("node5",), True, False, (), ("node1",)),
        (5, ("node5",), True, False, ("node5", "node9"), ("node5", "node1")),
        (5, ("node5",), True, True, ("node5",), ("node1",)),
        # Whoever is offline and answers is none of these.
        (5, ("node5",), True, False, ("node4",), ("node1",)),
    ],
)
def test_a_mon_leaves_the_map_where_that_helps_the_others(
    mons, silent, answers, moved, offline, removed
):
    cluster = cluster_of(mons, silent)
    found = leave.mons_to_remove(cluster, "node1", answers, moved, offline)
    assert found == removed


def test_a_host_without_a_mon_has_none_to_remove():
    assert leave.mons_to_remove(cluster_of(2), "node9", False, False, ()) == ()


def test_the_last_mon_stays_until_there_are_more():
    (found,) = leave.quorum_refusals(cluster_of(1), "node1")
    assert "the only one: set more ('gnt-cluster modify -S ceph:mon-count=3')" in found


@pytest.mark.parametrize(
    ("mons", "silent"), [(1, ()), (2, ()), (3, ("node3",)), (5, ("node4", "node5"))]
)
def test_a_host_without_a_mon_does_not_matter_to_the_quorum(mons, silent):
    assert leave.quorum_refusals(cluster_of(mons, silent), "node9") == []


# Offline: what is done


def stages(cluster, node="uuid1", daemons=STOP, before=(), mons=("node1",)):
    return leave.offline_stages(cluster, "node1", node, "uuid2", daemons, before, mons)


def done(made):
    """Return who does what, in order."""
    return [
        (uuid, step) for stage in made for uuid, steps in stage.steps for step in steps
    ]


def test_the_mon_of_a_dead_node_goes_before_another_one_comes():
    first = Stage("mons", (("uuid4", (HandOver("another"),)),))
    made = stages(cluster_of(3), node=None, daemons=None, before=(first,))
    assert done(made)[0] == ("uuid2", RemoveMon("node1"))
    assert made[1] == first


def test_a_node_that_answers_hands_over_and_then_stops():
    cluster = cluster_of(3, mgrs=("node1", "node2"), osds=(osd(0), osd(1, "node2")))
    first = Stage("mons", (("uuid4", (HandOver("another"),)),))
    made = stages(cluster, before=(first,))
    assert made[0] == first
    assert done(made[1:]) == [
        ("uuid2", HandOver("node1")),
        ("uuid2", RemoveMon("node1")),
        ("uuid1", STOP),
    ]


def test_a_node_that_is_dead_loses_its_mon_and_its_data_is_made_anew_elsewhere():
    osds = (osd(0, up=False), osd(1, "node2"), osd(2, up=False))
    cluster = cluster_of(3, ("node1",), mgrs=("node1", "node2"), osds=osds)
    assert done(stages(cluster, node=None, daemons=None)) == [
        ("uuid2", RemoveMon("node1")),
        ("uuid2", MarkOsds((0, 2), False)),
    ]


def test_only_osds_that_are_in_are_marked_out():
    osds = (osd(0, up=False, inside=False), osd(2, up=False))
    (_, step) = done(stages(cluster_of(3, osds=osds), None, None))[-1]
    assert step == MarkOsds((2,), False)
    made = stages(cluster_of(3, osds=osds[:1]), None, None)
    assert done(made) == [("uuid2", RemoveMon("node1"))]


@pytest.mark.parametrize(
    ("mgrs", "hands_over"),
    [
        ((), False),
        (("node1",), False),
        (("node1", "node2"), True),
        (("node2", "node1"), False),
    ],
)
def test_only_the_active_mgr_hands_over_and_only_to_another(mgrs, hands_over):
    made = done(stages(cluster_of(3, mgrs=mgrs)))
    assert (("uuid2", HandOver("node1")) in made) == hands_over


def test_the_only_mgr_hands_over_to_one_that_is_made_for_it():
    new = Stage("mgrs and OSDs", (("uuid2", (MakeMgr("node2", KEYS.admin),)),))
    made = done(stages(cluster_of(3, mgrs=("node1",)), before=(new,)))
    assert made[1] == ("uuid2", HandOver("node1"))


def test_no_mon_is_removed_where_none_is():
    cluster = make_cluster(mons=(Mon("node2", "192.0.2.2"),), quorum=("node2",))
    assert done(stages(cluster, mons=())) == [("uuid1", STOP)]


def test_mons_go_one_after_the_other():
    made = stages(cluster_of(5, ("node5",)), mons=("node5", "node1"))
    assert done(made) == [
        ("uuid2", RemoveMon("node5")),
        ("uuid2", RemoveMon("node1")),
        ("uuid1", STOP),
    ]


@pytest.mark.parametrize(
    ("daemons", "stops"),
    [
        (None, False),
        (StopDaemons((), (), ()), False),
        (StopDaemons(("node1",), (), ()), True),
        (StopDaemons((), ("node1",), ()), True),
        (StopDaemons((), (), (0,)), True),
    ],
)
def test_a_node_without_daemons_has_nothing_to_stop(daemons, stops):
    cluster = make_cluster(mons=(), quorum=())
    made = stages(cluster, daemons=daemons, mons=())
    assert done(made) == [("uuid1", daemons)] * stops


# Drained


def places(**racks):
    """Return the places of hosts by their racks, all of them below the root default."""
    return tuple(
        (host, (("root", "default"), *((("rack", rack),) if rack else ())))
        for host, rack in racks.items()
    )


def plain(domain="host", below="default", device_class=None):
    return Rule(below, domain, device_class)


HOSTS = (osd(0), osd(1, "node2"), osd(2, "node2"), osd(3, "node3"))
RACKS = places(node1="r0", node2="r1", node3="r2")


def report(use=(), used=0, copies=0, degraded=0, misplaced=0):
    counts = (copies, degraded, misplaced, 0, 0, 0, 0)
    return Report(make_cluster(), 0, used, (), use, (), *counts)


def drain(osds, size, rule=None, where=RACKS, use=(), counted=None, **changes):
    pools = (Pool("rbd", size, 1, 128, ("rbd",), rule or plain()),)
    cluster = make_cluster(**{"osds": osds, "pools": pools, "places": where, **changes})
    return leave.drain_refusals(cluster, "node1", counted or report(use))


@pytest.mark.parametrize(("domain", "enough"), [("osd", 3), ("host", 2), ("rack", 2)])
def test_as_many_failure_domains_as_copies_are_left(domain, enough):
    assert drain(HOSTS, enough, plain(domain)) == []
    (found,) = drain(HOSTS, enough + 1, plain(domain))
    assert f"pool rbd keeps {enough + 1} copies" in found
    assert f"only {enough} failure domains ({domain})" in found


@pytest.mark.parametrize(("domain", "enough"), [("osd", 3), ("host", 2), ("rack", 2)])
def test_each_part_of_an_erasure_code_needs_a_failure_domain(domain, enough):
    def found(parts):
        pools = (Pool("ec", parts, 2, 32, ("rbd",), plain(domain), True),)
        return drain(HOSTS, 0, pools=pools)

    assert found(enough) == []
    (text,) = found(enough + 1)
    assert f"pool ec keeps its data in {enough + 1} parts" in text
    assert f"only {enough} failure domains ({domain})" in text


def test_hosts_in_the_same_rack_are_one_failure_domain():
    same = places(node1="r0", node2="r1", node3="r1")
    assert drain(HOSTS, 1, plain("rack"), same) == []
    (found,) = drain(HOSTS, 2, plain("rack"), same)
    assert "only 1 failure domains" in found


def test_a_host_in_no_rack_is_no_failure_domain():
    where = places(node1="r0", node2="r1", node3=None)
    assert drain(HOSTS, 1, plain("rack"), where) == []
    assert len(drain(HOSTS, 2, plain("rack"), where)) == 1


@pytest.mark.parametrize("lacks", [{"up": False}, {"inside": False}, {"bucket": None}])
@pytest.mark.parametrize(("domain", "left"), [("osd", 2), ("host", 1), ("rack", 1)])
def test_osds_that_take_no_data_do_not_count(lacks, domain, left):
    osds = (*HOSTS[:3], dataclasses.replace(HOSTS[3], **lacks))
    assert drain(osds, left, plain(domain)) == []
    assert len(drain(osds, left + 1, plain(domain))) == 1


def test_osds_count_where_the_crush_map_has_them():
    # Each node has a bucket of its own name and another one for its fast disks.
    osds = [
        dataclasses.replace(one, bucket=f"{one.host}-fast" if one.id % 2 else one.host)
        for one in (*HOSTS, osd(4), osd(5))
    ]
    where = tuple(
        (bucket, (("root", "fast" if "fast" in bucket else "default"),))
        for bucket in sorted({one.bucket for one in osds})
    )
    # Fast ones beside its own: osd.1 of node2 and osd.3 of node3; others: osd.2.
    assert drain(tuple(osds), 2, plain("host", "fast"), where) == []
    assert len(drain(tuple(osds), 3, plain("host", "fast"), where)) == 1
    assert drain(tuple(osds), 1, plain("host"), where) == []
    assert len(drain(tuple(osds), 2, plain("host"), where)) == 1


def test_a_pool_takes_osds_of_its_class_alone():
    classes = ("ssd", "ssd", "hdd", "hdd")
    osds = tuple(
        dataclasses.replace(one, device_class=kind)
        for one, kind in zip(HOSTS, classes, strict=True)
    )
    assert drain(osds, 1, plain(device_class="ssd")) == []
    assert len(drain(osds, 2, plain(device_class="ssd"))) == 1
    # None of that class moves.
    assert drain(osds, 3, plain(device_class="hdd")) == []


def test_a_pool_below_a_bucket_takes_what_is_in_it():
    assert drain(HOSTS, 3, plain(below="r1")) == []
    assert len(drain(HOSTS, 3, plain(below="r0"))) == 1
    assert len(drain(HOSTS, 3, plain("osd", below="node1"))) == 1


def test_each_pool_that_would_lack_a_copy_is_named():
    pools = tuple(
        Pool(name, size, 1, 128, ("rbd",), rule)
        for name, size, rule in (
            ("small", 2, plain()),
            ("big", 3, plain()),
            ("bigger", 4, plain()),
            # Nobody can tell.
            ("odd", 5, None),
        )
    )
    found = drain(HOSTS, 0, pools=pools)
    assert [one.split()[1] for one in found] == ["big", "bigger"]


def test_without_a_pool_any_node_may_be_drained():
    assert drain(HOSTS, 0, pools=()) == []


def used(*gibibytes, size=10):
    return tuple(
        OsdUse(number, size * 2**30, int(part * 2**30))
        for number, part in enumerate(gibibytes)
    )


@pytest.mark.parametrize(
    ("use", "room"),
    [
        # Each of three others may have nine of its ten.
        (used(6, 7, 7, 7), None),
        (used(6.1, 7, 7, 7), "6.0"),
        # One that has more takes none.
        (used(4.5, 9.5, 7, 7), "4.0"),
        ((), None),
    ],
)
def test_the_others_have_room_for_what_moves(use, room):
    found = drain(HOSTS, 2, use=use)
    if room is None:
        assert found == []
    else:
        (text,) = found
        assert f"{use[0].used / 2**30:.1f} GiB are to move" in text
        assert f"have room for {room} GiB (up to 90 % of each)" in text


@pytest.mark.parametrize(
    ("degraded", "misplaced", "used_now", "room"),
    [(0, 0, 20, True), (5, 5, 10, True), (10, 1, 10, False), (0, 11, 10, False)],
)
def test_what_is_on_its_way_takes_room_too(degraded, misplaced, used_now, room):
    # Five are to move, six have room: a hundredth of all each is on its way.
    use = used(5, 7, 7, 7)
    counted = report(use, used_now * 2**30, 100, degraded, misplaced)
    assert (drain(HOSTS, 2, counted=counted) == []) == room


def test_what_is_on_its_way_keeps_no_node_from_being_drained_again():
    outside = (dataclasses.replace(HOSTS[0], inside=False), *HOSTS[1:])
    counted = report(used(5, 9, 9, 9), 30 * 2**30, 100, 0, 50)
    assert drain(outside, 2, counted=counted) == []


def test_how_full_osds_may_be_is_the_administrator_s():
    assert drain(HOSTS, 2, use=used(6, 7, 7, 7), backfillfull=0.89) != []
    assert drain(HOSTS, 2, use=used(7, 7, 7, 7), backfillfull=0.95) == []


def test_only_osds_of_the_class_have_room():
    osds = tuple(
        dataclasses.replace(one, device_class=kind)
        for one, kind in zip(HOSTS, ("ssd", "ssd", "hdd", "hdd"), strict=True)
    )
    assert drain(osds, 1, plain(device_class="ssd"), use=used(2, 7, 0, 0)) == []
    (found,) = drain(osds, 1, plain(device_class="ssd"), use=used(2.5, 7, 0, 0))
    assert "the other OSDs of class ssd below default" in found


OSDS = (
    osd(0),
    osd(1, inside=False),
    osd(2, up=False),
    osd(3, "node2"),
    osd(4, "node2", inside=False),
    osd(5, new=True),
    osd(6, new=True, inside=False),
)


@pytest.mark.parametrize(
    ("drained", "title", "step"),
    [
        (True, "OSDs out", MarkOsds((0, 2), False)),
        (False, "OSDs in", MarkOsds((1,), True)),
    ],
)
def test_the_osds_of_the_host_are_marked_that_are_not_so_yet(drained, title, step):
    (stage,) = leave.drain_stages(make_cluster(osds=OSDS), "node1", "uuid2", drained)
    assert stage == Stage(title, (("uuid2", (step,)),))


@pytest.mark.parametrize(
    ("marked", "back"), [(None, (1, 2)), ({1, 4}, (1,)), ({0, 1, 2}, (1, 2)), ((), ())]
)
def test_what_was_out_before_a_drain_stays_out(marked, back):
    osds = (osd(0), osd(1, inside=False), osd(2, inside=False), osd(4, "node2"))
    cluster = make_cluster(osds=osds)
    made = leave.drain_stages(cluster, "node1", "uuid2", False, marked)
    steps = [step for stage in made for _, steps in stage.steps for step in steps]
    assert steps == ([MarkOsds(back, True)] if back else [])


@pytest.mark.parametrize("drained", [True, False])
def test_a_drain_and_its_end_come_to_the_same_when_they_are_repeated(drained):
    cluster = make_cluster(osds=OSDS)
    nodes = [make_node("node2")]
    (acting,) = (node.uuid for node in nodes)
    made = leave.drain_stages(cluster, "node1", acting, drained)
    _, cluster = carry_out(made, nodes, cluster)
    assert leave.drain_stages(cluster, "node1", acting, drained) == ()


def test_a_drain_that_is_taken_back_leaves_all_as_it_was():
    nodes, cluster = finished(make_nodes(3), PARAMS)
    acting = nodes[1].uuid
    before = cluster
    for drained in (True, False):
        made = leave.drain_stages(cluster, "node1", acting, drained)
        nodes, cluster = carry_out(made, nodes, cluster)
        assert {osd.id for osd in cluster.osds if osd.inside} == (
            {osd.id for osd in cluster.osds if osd.host != "node1" or not drained}
        )
    assert cluster == before


# Removed


@pytest.mark.parametrize(
    ("offline", "up", "objection", "words"),
    [
        (True, False, None, []),
        (False, False, None, ["mark it offline first"]),
        (True, True, None, ["osd.0, osd.1 still run"]),
        (True, False, "PGs are degraded", ["nowhere else: PGs are degraded"]),
        # What runs is said, and whether it could be destroyed comes after that.
        (True, True, "PGs are degraded", ["osd.0, osd.1 still run"]),
        (False, True, None, ["mark it offline first", "osd.0, osd.1 still run"]),
        (False, False, "PGs", ["mark it offline first", "nowhere else: PGs"]),
    ],
)
def test_a_node_is_removed_when_it_is_offline_and_holds_nothing_alone(
    offline, up, objection, words
):
    osds = (osd(0, up=up), osd(1, up=up), osd(2, "node2"))
    cluster = make_cluster(osds=osds)
    found = leave.remove_refusals(cluster, "node1", offline, objection)
    assert [word in one for word, one in zip(words, found, strict=True)] == (
        [True] * len(words)
    )
    assert not any("osd.2" in one for one in found)


def test_only_the_osds_that_run_are_said_to_run():
    cluster = make_cluster(osds=(osd(0, up=False), osd(1)))
    (found,) = leave.remove_refusals(cluster, "node1", True, None)
    assert found == (
        "osd.1 still run: 'gnt-node modify --offline=yes node1' once more stops them"
    )


@pytest.mark.parametrize(("inside", "said"), [(True, True), (False, False)])
def test_data_that_nobody_makes_anew_is_made_so_by_marking_it_out(inside, said):
    """Of all OSDs of a rack that are down Ceph marks none out by itself."""
    osds = (osd(0, up=False, inside=inside), osd(1, up=False, inside=False))
    cluster = make_cluster(osds=osds)
    (found,) = leave.remove_refusals(cluster, "node1", True, "PGs are degraded")
    words = "mark them out ('gnt-node modify --offline=yes node1' once more), and wait"
    assert (words in found) == said
    assert "wait until all data has moved" in found


def test_the_storage_cluster_forgets_all_of_a_node_and_nothing_of_others():
    cluster = cluster_of(3, osds=(osd(0), osd(1, "node2"), osd(2)))
    assert done(leave.remove_stages(cluster, "node1", "uuid2", ())) == [
        ("uuid2", RemoveMon("node1")),
        ("uuid2", ForgetHost("node1", (0, 2))),
    ]


def test_a_node_without_a_mon_and_osds_leaves_its_name_behind_and_that_goes():
    made = leave.remove_stages(cluster_of(3), "node9", "uuid2", ())
    assert done(made) == [("uuid2", ForgetHost("node9", ()))]


@pytest.mark.parametrize("runs", [True, False])
def test_a_mon_that_runs_goes_when_another_came_and_a_dead_one_before(runs):
    cluster = cluster_of(3)
    if not runs:
        cluster = dataclasses.replace(cluster, quorum=("node2", "node3"))
    instead = Stage("mons", (("uuid4", (MakeMgr("node4", KEYS.admin),)),))
    made = leave.remove_stages(cluster, "node1", "uuid2", [instead])
    kinds = [type(step) for _, step in done(made)]
    first, second = (MakeMgr, RemoveMon) if runs else (RemoveMon, MakeMgr)
    assert kinds == [first, second, ForgetHost]


# Whatever goes: the quorum stays


def take_offline(node, others, cluster, dead, params, offline):
    """Take a node offline as its job does; return what is then, None if refused."""
    if leave.quorum_refusals(cluster, node.host, offline):
        return None
    able = [one.uuid for one in others if one.facts.has_keys]
    if not able:
        return None
    rest = leave.without(cluster, node.host, (node.host,))
    moved = len(plan.choose_mons(others, params, rest)) > len(rest.mons)
    mons = leave.mons_to_remove(cluster, node.host, not dead, moved, offline)
    rest = leave.without(cluster, node.host, mons)
    before = plan.plan(others, params, FSID, KEYS, False, rest, frozenset(), True)
    facts = node.facts
    daemons = StopDaemons(facts.mons, facts.mgrs, tuple(one.id for one in facts.osds))
    made = leave.offline_stages(
        cluster,
        node.host,
        None if dead else node.uuid,
        able[0],
        None if dead else daemons,
        before.stages,
        mons,
    )
    return carry_out(made, [*others, node], cluster, after=survives)


def survives(cluster, step):
    assert cluster.mons, f"no mon after {step}"
    assert 2 * len(cluster.quorum) > len(cluster.mons), f"no quorum after {step}"


def without_power(cluster, host):
    """Return what a cluster is when a host has died."""
    quorum = tuple(name for name in cluster.quorum if name != host)
    mgrs = tuple(name for name in cluster.mgrs if name != host)
    rest = dataclasses.replace(cluster, quorum=quorum, mgrs=mgrs)
    return changed(rest, host, up=False)


@functools.cache
def made_of(count, mon_count):
    """Return the nodes of a storage cluster, it, and its parameters."""
    params = dataclasses.replace(PARAMS, mon_count=mon_count, pool_size=1)
    return (*finished(make_nodes(count), params), params)


@st.composite
def losses(draw):
    """Draw a storage cluster, and what happens: nodes die, and are taken offline."""
    count = draw(st.integers(1, 7))
    hosts = st.sampled_from([f"node{number}" for number in range(1, count + 1)])
    events = draw(
        st.lists(
            st.tuples(st.sampled_from(["dies", "offline"]), hosts),
            max_size=2 * count,
            unique=True,
        )
    )
    return made_of(count, draw(st.sampled_from([1, 3, 5]))), events


@given(losses())
def test_whatever_nodes_go_offline_a_quorum_is_left(drawn):
    (nodes, cluster, params), events = drawn
    online = {node.host: node for node in nodes}
    dead, offline = set(), set()
    for what, host in events:
        if what == "dies":
            less = without_power(cluster, host)
            # Else nobody would answer, and all that follows be refused.
            if 2 * len(less.quorum) > len(less.mons):
                cluster = less
                dead.add(host)
            continue
        others = [node for name, node in online.items() if name not in {*dead, host}]
        after = take_offline(
            online[host], others, cluster, host in dead, params, offline
        )
        if after is None:
            continue
        offline.add(host)
        online |= {node.host: node for node in after[0]}
        del online[host]
        cluster = after[1]
        assert host not in cluster.quorum
        assert not (host in dead and host in {mon.id for mon in cluster.mons})
        assert host not in cluster.mgrs
        osds = leave.osds_of(cluster, host)
        assert not any(osd.up for osd in osds)
        assert not (host in dead and any(osd.inside for osd in osds))


@pytest.mark.parametrize("count", [3, 4, 5])
def test_of_nodes_that_all_answer_each_but_the_last_may_go(count):
    nodes, cluster, params = made_of(count, 3)
    nodes = {node.host: node for node in nodes}
    gone = []
    for host in sorted(nodes):
        node = nodes.pop(host)
        after = take_offline(node, list(nodes.values()), cluster, False, params, gone)
        if after is not None:
            nodes, cluster = {one.host: one for one in after[0]}, after[1]
            del nodes[host]
            gone.append(host)
    assert gone == [f"node{number}" for number in range(1, count)]
    assert cluster.quorum == (f"node{count}",)
