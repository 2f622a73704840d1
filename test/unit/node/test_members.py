"""Daemons that come, go or are forgotten: Ceph is asked and has the last word."""

import datetime
import errno
import json

import pytest
from fakes import RELEASES, FakePool, Refused, recorded

from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import files, members, services
from ganeti_ceph.rpc import LEAVE, AskLeave, Objections
from ganeti_ceph.steps import (
    AwaitDaemons,
    ForgetHost,
    HandOver,
    MarkOsds,
    PlaceHost,
    RemoveMon,
    StopDaemons,
)


def refuses(number, words="no"):
    """Return a command that Ceph refuses."""

    def refuse(**_):
        raise Refused(number, words)

    return refuse


def prefixes(storage):
    return [prefix for prefix, _ in storage.commands]


@pytest.fixture
def osds(storage):
    """Three OSDs that are up, a host each."""
    return [
        storage.osd(f"uuid-{index}", up=True, new=False, host=f"node{index + 1}")
        for index in range(3)
    ]


# What Ceph has against it

QUESTIONS = [(False, "osd ok-to-stop"), (True, "osd safe-to-destroy")]


@pytest.mark.parametrize(("for_ever", "question"), QUESTIONS)
def test_ceph_is_asked_what_fits_to_the_way_of_leaving(
    storage, osds, for_ever, question
):
    assert members.ask(AskLeave((0, 2), for_ever)) == Objections(None)
    assert storage.commands[-1] == (question, {"ids": ["0", "2"]})
    assert len({"osd ok-to-stop", "osd safe-to-destroy"} & set(prefixes(storage))) == 1


def test_what_ceph_objects_to_a_stop_is_told_in_its_words(storage, osds):
    storage.needed = {2}
    assert members.ask(AskLeave((0, 1), False)) == Objections(None)
    found = members.ask(AskLeave((0, 2), False))
    assert found.reason is not None
    assert "OSD(s) [2] are needed" in found.reason


def test_osds_that_data_is_mapped_to_are_not_to_be_lost(storage, osds):
    storage.needed = {2}
    assert members.ask(AskLeave((0, 1), True)) == Objections(None)
    assert members.ask(AskLeave((0, 2), True)) == Objections(
        "placement groups are mapped to osd.2"
    )


def test_osds_of_which_nobody_knows_what_they_hold_are_not_to_be_lost(storage, osds):
    storage.unknown = {0, 1}
    assert members.ask(AskLeave((2,), True)) == Objections(None)
    found = members.ask(AskLeave((1, 0, 2), True))
    assert "nobody knows what osd.0, osd.1 holds" in str(found.reason)


def test_osds_that_still_store_data_are_not_to_be_lost(storage, osds):
    # What they last reported, before they went down.
    storage.answers["osd safe-to-destroy"] = {
        "safe_to_destroy": [0],
        "active": [],
        "missing_stats": [],
        "stored_pgs": [1],
    }
    assert "osd.1" in str(members.ask(AskLeave((0, 1), True)).reason)


@pytest.mark.parametrize(("for_ever", "question"), QUESTIONS)
def test_that_ceph_cannot_tell_now_is_an_objection(
    storage, osds, clock, monkeypatch, for_ever, question
):
    # So both commands answer, JSON or not, as long as a placement group is unknown.
    name = "_" + question.replace(" ", "_").replace("-", "_")
    words = "3 pgs have unknown state; cannot draw any conclusions"
    monkeypatch.setattr(storage, name, refuses(errno.EAGAIN, words))
    assert words in str(members.ask(AskLeave((0,), for_ever)).reason)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.ETIMEDOUT])
def test_another_failure_is_neither_a_yes_nor_a_no(storage, osds, monkeypatch, number):
    for for_ever, name in enumerate(("_osd_ok_to_stop", "_osd_safe_to_destroy")):
        monkeypatch.setattr(storage, name, refuses(number))
        with pytest.raises(CephError):
            members.ask(AskLeave((0,), bool(for_ever)))


def test_no_osds_need_no_cluster(storage):
    storage.reachable = False
    assert members.ask(AskLeave((), True)) == Objections(None)


def test_a_cluster_that_does_not_answer_does_not_agree(storage, osds):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        members.ask(AskLeave((0,), False))
    assert storage.bounds[0]["client_mount_timeout"] == "20"


def stamp(seconds):
    """Return a moment of the clock as Ceph writes it."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


@pytest.fixture
def asked(storage, osds, clock, monkeypatch):
    """The moments at which Ceph was asked."""
    asked = []

    def agree(ids):
        asked.append(clock.now)
        return {"safe_to_destroy": [int(one) for one in ids], "active": []}

    for name in ("_osd_ok_to_stop", "_osd_safe_to_destroy"):
        monkeypatch.setattr(storage, name, agree)
    return asked


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize(
    ("ago", "waits"),
    [
        (0, 15),
        (10, 5),
        (14, 1),
        (15, 0),
        (3600, 0),
        # The mons' clock is ahead.
        (-3600, 15),
    ],
)
def test_ceph_is_asked_once_its_mgr_has_heard_that_an_osd_is_down(
    storage, osds, clock, asked, for_ever, ago, waits
):
    osds[1].up, storage.modified = False, stamp(clock.now - ago)
    members.ask(AskLeave((0,), for_ever))
    assert asked == [pytest.approx(1000 + waits)]


def test_where_all_osds_are_up_there_is_no_news(storage, osds, clock, asked):
    storage.modified = stamp(clock.now)
    members.ask(AskLeave((0,), False))
    assert asked == [1000]


def test_an_osd_that_was_drained_and_stopped_is_news(storage, osds, clock, asked):
    osds[1].up = osds[1].inside = False
    storage.modified = stamp(clock.now)
    members.ask(AskLeave((0,), False))
    assert asked == [1000 + members._NEWS]


@pytest.mark.parametrize("release", RELEASES)
def test_moments_are_read_as_ceph_writes_them(storage, clock, asked, release):
    dump = json.loads(recorded(release, "osd-dump.json"))
    dump["osds"][0]["up"] = 0
    storage.answers["osd dump"] = dump
    clock.now = datetime.datetime.fromisoformat(dump["modified"]).timestamp() + 10
    began = clock.now
    members.ask(AskLeave((0,), False))
    assert asked == [pytest.approx(began + 5)]


def test_the_job_waits_for_the_news_too():
    assert LEAVE.timeout > 2 * members._NEWS + 10


@pytest.mark.parametrize(("seconds", "objects"), [(5, False), (60, True)])
def test_a_mgr_that_has_not_heard_of_all_yet_is_asked_again(
    storage, osds, clock, monkeypatch, seconds, objects
):
    began = clock.now

    def unknown(ids):
        if clock.now < began + seconds:
            raise CephError("1 pgs have unknown state", errno.EAGAIN)
        return {}

    monkeypatch.setattr(storage, "_osd_ok_to_stop", unknown)
    reason = members.ask(AskLeave((0,), False)).reason
    assert ("unknown state" in (reason or "")) == objects
    assert clock.now - began < members._NEWS + 1


# In and out


@pytest.mark.parametrize(("inside", "word"), [(True, "in"), (False, "out")])
def test_osds_are_marked_and_no_others(storage, osds, inside, word):
    osds[0].inside = osds[1].inside = osds[2].inside = not inside
    assert members.mark(MarkOsds((0, 2), inside)) == f"osd.0, osd.2: marked {word}"
    assert [one.inside for one in osds] == [inside, not inside, inside]


@pytest.mark.parametrize("inside", [True, False])
def test_marking_twice_is_no_failure(storage, osds, inside):
    for _ in range(2):
        members.mark(MarkOsds((1,), inside))
    assert osds[1].inside is inside


# Another mgr


@pytest.fixture
def mgrs(storage, clock):
    storage.mgrs = ["node1", "node2"]
    return storage


def test_the_active_mgr_hands_over(mgrs, clock):
    assert members.hand_over(HandOver("node1")) == "mgr.node2 is active"
    assert clock.now == 1000


def test_a_mgr_that_stands_by_is_not_failed(mgrs):
    assert members.hand_over(HandOver("node2")) == "mgr.node1 is active"
    assert mgrs.mgrs == ["node1", "node2"]
    assert "mgr fail" not in prefixes(mgrs)


def test_the_one_that_takes_over_is_waited_for(mgrs, clock):
    mgrs.mgrs = ["node1"]
    clock.after(20, lambda: mgrs.mgrs.append("node2"))
    assert members.hand_over(HandOver("node1")) == "mgr.node2 is active"
    assert 1020 <= clock.now < 1025


def test_a_mgr_that_comes_back_is_not_one_that_takes_over(mgrs, clock):
    mgrs.mgrs = ["node1"]
    clock.after(5, lambda: mgrs.mgrs.append("node1"))
    with pytest.raises(ExecError, match=r"no mgr took over from mgr\.node1"):
        members.hand_over(HandOver("node1"))
    assert 1030 <= clock.now < 1035


def test_a_mgr_is_failed_once(mgrs, clock):
    mgrs.mgrs = ["node1"]
    with pytest.raises(ExecError):
        members.hand_over(HandOver("node1"))
    assert prefixes(mgrs).count("mgr fail") == 1


# Mons that go


def test_a_mon_is_taken_out_of_the_map(storage):
    assert members.remove_mon(RemoveMon("node2")) == "mon.node2 is out of the map"
    assert sorted(storage.mons) == ["node1", "node3"]


def test_a_mon_that_is_out_already_is_no_failure(storage):
    members.remove_mon(RemoveMon("node9"))
    assert sorted(storage.mons) == ["node1", "node2", "node3"]
    assert "mon remove" not in prefixes(storage)


def test_the_last_mon_is_never_removed(storage):
    storage.mons = {"node1": "192.0.2.1"}
    storage.quorum = ["node1"]
    with pytest.raises(ExecError, match=r"mon\.node1 is the last one"):
        members.remove_mon(RemoveMon("node1"))
    assert list(storage.mons) == ["node1"]


def test_the_last_mon_stays_also_if_another_one_is_to_go(storage):
    storage.mons = {"node1": "192.0.2.1"}
    storage.quorum = ["node1"]
    members.remove_mon(RemoveMon("node2"))
    assert list(storage.mons) == ["node1"]


@pytest.mark.parametrize(
    ("mons", "quorum", "goes"),
    [
        (2, [1, 2], 1),
        (3, [1, 2, 3], 1),
        # Dead ones go.
        (3, [1, 2], 3),
        (4, [1, 2, 3], 4),
        (5, [1, 2, 3], 5),
        (5, [1, 2, 3, 4], 1),
    ],
)
def test_a_mon_goes_if_the_rest_is_a_quorum(storage, mons, quorum, goes):
    set_mons(storage, mons, quorum)
    members.remove_mon(RemoveMon(f"node{goes}"))
    assert f"node{goes}" not in storage.mons
    assert len(storage.mons) == mons - 1


@pytest.mark.parametrize(
    ("mons", "quorum", "missing"),
    [(3, [1, 2], "node3"), (5, [1, 2, 3], "node4, node5")],
)
def test_a_mon_stays_without_which_there_is_no_quorum(
    storage, clock, mons, quorum, missing
):
    set_mons(storage, mons, quorum)
    with pytest.raises(ExecError, match=rf"mon\.node1 .* no quorum.* {missing} do not"):
        members.remove_mon(RemoveMon("node1"))
    assert len(storage.mons) == mons


def test_a_mon_goes_once_the_others_know_that_one_has_gone_before(storage, clock):
    set_mons(storage, 3, [1, 2])

    def agree():
        storage.mons.pop("node3")

    clock.after(2, agree)
    members.remove_mon(RemoveMon("node2"))
    assert list(storage.mons) == ["node1"]


def set_mons(storage, count, quorum):
    storage.mons = {f"node{one}": f"192.0.2.{one}" for one in range(1, count + 1)}
    storage.quorum = [f"node{one}" for one in quorum]


# Daemons that stop


@pytest.fixture
def admin(tree):
    """The administrator's key on the node."""
    files.ADMIN_KEYRING.parent.mkdir(parents=True)
    files.ADMIN_KEYRING.write_text("s3cret")
    return files.ADMIN_KEYRING


@pytest.fixture
def daemons(run, systemd):
    """A node whose daemons run."""
    for kind, name in (("mon", "node1"), ("mgr", "node1"), ("osd", "3"), ("osd", "4")):
        services.start(kind, name, run)


def units(systemd):
    return {one for one in systemd.running | systemd.enabled if "@" in one}


def test_all_daemons_stop_that_are_told_to(admin, run, systemd, daemons):
    step = StopDaemons(("node1",), ("node1",), (3, 4))
    assert members.stop(step, run) == "osd.3, osd.4, mgr.node1, mon.node1 stopped"
    assert units(systemd) == set()


def test_osds_stop_before_the_mon_that_they_tell_of_it(admin, run, systemd, daemons):
    members.stop(StopDaemons(("node1",), ("node1",), (3, 4)), run)
    stops = [
        call[-2:] for call in run.calls if call[:3] == ["systemctl", "disable", "--now"]
    ]
    assert stops == [
        ["ceph-osd@3.service", "ceph-osd@4.service"],
        ["ceph-mgr@node1.service", "ceph-mon@node1.service"],
    ]


def test_no_others_stop(admin, run, systemd, daemons):
    members.stop(StopDaemons((), (), (3,)), run)
    assert units(systemd) == {
        "ceph-mon@node1.service",
        "ceph-mgr@node1.service",
        "ceph-osd@4.service",
    }


def test_stopping_needs_no_cluster(admin, run, daemons, storage):
    members.stop(StopDaemons(("node1",), ("node1",), (3,)), run)
    assert storage.clients == []


def test_with_a_mon_goes_the_administrators_key(admin, run, daemons):
    members.stop(StopDaemons(("node1",), (), ()), run)
    assert not admin.exists()


def test_without_one_it_stays(admin, run, daemons):
    members.stop(StopDaemons((), ("node1",), (3, 4)), run)
    assert admin.exists()


def test_a_key_that_is_gone_already_is_no_failure(tree, run, daemons):
    members.stop(StopDaemons(("node1",), (), ()), run)


def test_a_mon_that_may_still_run_keeps_the_key(admin, run, daemons):
    run.knows("systemctl", "disable", code=1)
    with pytest.raises(ExecError, match="systemctl"):
        members.stop(StopDaemons(("node1",), (), ()), run)
    assert admin.exists()


def test_what_daemons_had_stays_for_their_return(admin, run, daemons):
    kept = [files.daemon_dir("mon", "node1"), files.daemon_dir("osd", "3")]
    for path in kept:
        path.mkdir(parents=True)
    members.stop(StopDaemons(("node1",), (), (3,)), run)
    assert all(path.is_dir() for path in kept)


# Keys that are dropped


@pytest.fixture
def keyrings(tree, admin, monkeypatch):
    """The keys of the clients, the collector's left out."""
    monkeypatch.setattr(files, "keyring", lambda user: admin.with_name(user))
    admin.with_name("ganeti").write_text("s3cret")
    return [admin, admin.with_name("ganeti")]


def test_a_node_that_has_left_keeps_no_key(keyrings, run, systemd, daemons):
    kept = files.daemon_dir("osd", "3")
    gone = [
        files.daemon_dir("mon", "node1"),
        files.daemon_dir("mon", "node1").with_name(".ganeti-ceph-removed-node1"),
        files.daemon_dir("mgr", "node1"),
    ]
    bootstrap = files.DATA / "bootstrap-osd"
    for path in (*gone, kept, bootstrap):
        path.mkdir(parents=True)
    files_of_keys = [
        *(path / "keyring" for path in (*gone, kept)),
        # With what a power cut may have left of its writing.
        *(bootstrap / name for name in ("ceph.keyring", ".ceph.keyring.ganeti-ceph")),
    ]
    for path in (*files_of_keys, kept / "fsid"):
        path.write_text("key")
    members.drop_keys(run)
    assert not any(path.exists() for path in (*gone, *keyrings, *files_of_keys))
    assert units(systemd) == {"ceph-osd@3.service", "ceph-osd@4.service"}
    # What its disks carry is nobody's to take.
    assert (kept / "fsid").exists()
    # There may be nothing.
    members.drop_keys(run)


def test_a_mon_that_may_still_run_keeps_its_store(keyrings, run, daemons):
    store = files.daemon_dir("mon", "node1")
    store.mkdir(parents=True)
    run.knows("systemctl", "disable", code=1)
    with pytest.raises(ExecError, match="systemctl"):
        members.drop_keys(run)
    assert all(path.exists() for path in (store, *keyrings))


# Hosts that are forgotten


@pytest.fixture
def gone(storage, osds):
    """A cluster of which node3, with osd.2, is gone, and its data is elsewhere."""
    osds[2].up = False
    for entity in ("mgr.node1", "mgr.node3"):
        storage.keys[entity] = ("k3y==", ())
    return storage


def untouched(storage):
    return (
        sorted(storage.osds) == [0, 1, 2]
        and "mgr.node3" in storage.keys
        and not {"osd purge-actual", "osd crush remove", "auth rm"}
        & set(prefixes(storage))
    )


def hosts(storage):
    return {
        node["name"] for node in storage._osd_tree()["nodes"] if node["type"] == "host"
    }


def test_its_osds_its_place_and_its_mgrs_key_are_forgotten(gone):
    gone.hosts = {"node3"}
    assert members.forget(ForgetHost("node3", (2,))) == "host node3 is forgotten"
    assert sorted(gone.osds) == [0, 1]
    assert hosts(gone) == {"node1", "node2"}
    assert sorted(gone.keys) == ["mgr.node1"]


def test_all_its_osds_are_asked_about_together(gone):
    # Each may be safe to destroy, and both not.
    gone.osd("uuid-3", new=False, host="node3")
    members.forget(ForgetHost("node3", (2, 3)))
    asked = [given for prefix, given in gone.commands if "safe" in prefix]
    assert asked == [{"ids": ["2", "3"]}]
    assert sorted(gone.osds) == [0, 1]


def test_no_osd_is_purged_that_ceph_says_is_needed(gone):
    gone.osd("uuid-3", new=False, host="node3")
    gone.needed = {3}
    with pytest.raises(ExecError, match=r"mapped to osd\.3"):
        members.forget(ForgetHost("node3", (2, 3)))
    assert sorted(gone.osds) == [0, 1, 2, 3]
    assert "mgr.node3" in gone.keys


def test_no_osd_is_purged_of_which_nobody_knows_what_it_holds(gone):
    gone.unknown = {2}
    with pytest.raises(ExecError, match=r"nobody knows what osd\.2 holds"):
        members.forget(ForgetHost("node3", (2,)))
    assert untouched(gone)


def test_no_osd_is_purged_while_ceph_cannot_tell(gone, monkeypatch):
    monkeypatch.setattr(gone, "_osd_safe_to_destroy", refuses(errno.EAGAIN))
    with pytest.raises(CephError):
        members.forget(ForgetHost("node3", (2,)))
    assert untouched(gone)


def test_no_osd_is_purged_that_runs(gone, osds):
    osds[2].up = True
    with pytest.raises(CephError, match=r"osd\.2 is not `down`"):
        members.forget(ForgetHost("node3", (2,)))
    assert sorted(gone.osds) == [0, 1, 2]
    assert hosts(gone) == {"node1", "node2", "node3"}
    assert "mgr.node3" in gone.keys


def test_without_the_cluster_nothing_is_forgotten(gone):
    gone.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        members.forget(ForgetHost("node3", (2,)))
    assert untouched(gone)


def test_a_host_with_an_osd_that_nobody_named_stays(gone):
    gone.osd("uuid-3", new=False, host="node3")
    with pytest.raises(CephError, match="not empty"):
        members.forget(ForgetHost("node3", (2,)))
    assert sorted(gone.osds) == [0, 1, 3]
    assert "node3" in hosts(gone)
    assert "mgr.node3" in gone.keys


def test_a_host_without_osds_is_forgotten(gone):
    gone.hosts = {"node4"}
    members.forget(ForgetHost("node4", ()))
    assert hosts(gone) == {"node1", "node2", "node3"}
    assert sorted(gone.osds) == [0, 1, 2]
    assert "osd safe-to-destroy" not in prefixes(gone)


def test_a_host_without_a_place_is_forgotten(gone):
    gone.keys["mgr.node4"] = ("k3y==", ())
    members.forget(ForgetHost("node4", ()))
    assert "osd crush remove" not in prefixes(gone)
    assert "mgr.node4" not in gone.keys


def test_forgetting_goes_on_where_it_stopped(gone, monkeypatch):
    gone.osd("uuid-3", new=False, host="node3")
    gone.hosts = {"node3"}
    step = ForgetHost("node3", (2, 3))
    with monkeypatch.context() as during:
        during.setattr(gone, "_osd_crush_remove", refuses(errno.ETIMEDOUT))
        with pytest.raises(CephError):
            members.forget(step)
    for _ in range(2):
        members.forget(step)
    assert sorted(gone.osds) == [0, 1]
    assert hosts(gone) == {"node1", "node2"}
    assert "mgr.node3" not in gone.keys


# Daemons that are waited for

AWAIT = AwaitDaemons(("node2", "node3"), (("node1", 1), ("node3", 2)), 60)


@pytest.fixture
def back(storage, osds, clock):
    """A cluster to which node3 came back, with a second OSD."""
    storage.osd("uuid-3", up=True, new=False, host="node3")
    return storage


def test_daemons_that_serve_are_not_waited_for(back, clock):
    assert members.await_daemons(AWAIT) == "all daemons are up, HEALTH_OK"
    assert clock.now == 1000


def test_mons_are_waited_for(back, clock):
    back.quorum.remove("node3")
    clock.after(20, lambda: back.quorum.append("node3"))
    members.await_daemons(AWAIT)
    assert 1020 <= clock.now < 1025


def test_osds_are_waited_for(back, clock):
    back.osds[3].up = False
    clock.after(20, lambda: setattr(back.osds[3], "up", True))
    members.await_daemons(AWAIT)
    assert 1020 <= clock.now < 1025


def test_other_daemons_are_not_waited_for(back, clock):
    back.quorum.remove("node1")
    back.osds[1].up = False
    members.await_daemons(AWAIT)
    assert clock.now == 1000


def test_more_osds_than_that_are_well(back, clock):
    members.await_daemons(AwaitDaemons((), (("node3", 1),), 60))
    assert clock.now == 1000


def test_the_osds_of_other_hosts_do_not_count(back, clock):
    with pytest.raises(ExecError, match="1 of 3 OSDs of node3"):
        members.await_daemons(AwaitDaemons((), (("node3", 3),), 60))


def test_what_does_not_come_is_named_when_the_time_is_over(back, clock):
    back.quorum.remove("node2")
    back.osds[3].up = False
    with pytest.raises(ExecError) as caught:
        members.await_daemons(AWAIT)
    assert str(caught.value) == (
        "after 60 s still down: mon.node2, 1 of 2 OSDs of node3"
    )
    assert 1060 <= clock.now < 1065


def test_a_host_without_a_place_has_no_osd_up(back, clock):
    with pytest.raises(ExecError, match="2 of 2 OSDs of node9"):
        members.await_daemons(AwaitDaemons((), (("node9", 2),), 60))


def test_data_that_still_moves_is_not_waited_for_but_told(back, clock):
    back.mgrs = ["node1"]
    back.pools["vms"] = FakePool("vms", 128, "replicated_rule")
    back.unclean = 5
    back.checks = {
        "PG_DEGRADED": {"summary": {"message": "5 pgs degraded"}},
        "OSD_NEARFULL": {"summary": {"message": "1 nearfull osd(s)"}, "muted": False},
        "MON_CLOCK_SKEW": {"summary": {"message": "clock skew"}, "muted": True},
    }
    assert members.await_daemons(AWAIT) == (
        "all daemons are up, HEALTH_WARN; 1 nearfull osd(s); 5 pgs degraded"
    )
    assert clock.now == 1000


def test_mons_that_just_start_are_asked_more_often(back):
    members.await_daemons(AWAIT)
    assert "mon_client_hunt_interval" in back.bounds[0]


# A host's place


TREE = {
    "nodes": [
        {"id": -1, "name": "default", "type": "root", "children": [-2]},
        {"id": -2, "name": "node1", "type": "host", "children": []},
        {"id": -3, "name": "fast", "type": "root", "children": [-4]},
        {"id": -4, "name": "r9", "type": "rack", "children": [-5]},
        {"id": -5, "name": "node2", "type": "host", "children": []},
        # Nobody has put it below a root.
        {"id": -6, "name": "node3", "type": "host", "children": []},
    ]
}


@pytest.mark.parametrize(
    ("host", "root"),
    [
        ("node1", "default"),
        # An administrator's own.
        ("node2", "fast"),
        ("node3", "default"),
        ("node4", "default"),
    ],
)
def test_a_host_is_moved_below_its_root_to_all_of_its_place(storage, host, root):
    storage.answers["osd crush move"] = None
    storage.answers["osd tree"] = TREE
    step = PlaceHost(host, (("room", "b"), ("rack", "r1")))
    assert members.place(step) == f"host {host} is at room=b rack=r1"
    assert storage.commands[-1] == (
        "osd crush move",
        {"name": host, "args": [f"root={root}", "room=b", "rack=r1"]},
    )
