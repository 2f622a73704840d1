"""Ganeti's jobs on nodes: what they ask, refuse and do to the storage cluster."""

import contextlib
import dataclasses
import types

import pytest
from fakes import make_label, make_node, with_facts
from ganeti import errors as ganeti_errors
from ganeti import locking
from ganeti.cmdlib.node import LUNodeSetParams

from ganeti_ceph.jobs import nodes
from ganeti_ceph.rpc import AskLeave

ROLES = {
    name: getattr(LUNodeSetParams, f"_ROLE_{name}")
    for name in ("CANDIDATE", "DRAINED", "OFFLINE", "REGULAR")
}


class Modification:
    """Stands for Ganeti's unit of gnt-node modify."""

    _ROLE_OFFLINE = ROLES["OFFLINE"]
    _ROLE_DRAINED = ROLES["DRAINED"]

    def __init__(self, ganeti, name, was="REGULAR", **changes):
        self.cfg, self.rpc = ganeti.config, ganeti.rpc
        node = ganeti.config.find(name)
        self.node = node
        options = {
            "node_uuid": node.uuid,
            "node_name": name,
            "offline": None,
            "drained": None,
            "master_candidate": None,
            "master_capable": None,
            "secondary_ip": None,
            "force": False,
            "dry_run": False,
        }
        self.op = types.SimpleNamespace(**{**options, **changes})
        self.old_role = self.new_role = ROLES[was]
        if self.op.offline:
            self.new_role = ROLES["OFFLINE"]
        elif self.op.drained:
            self.new_role = ROLES["DRAINED"]
        elif False in (self.op.offline, self.op.drained):
            self.new_role = ROLES["REGULAR"]
        self.needed_locks, self.share_locks = {}, {}
        self.owned = {"uuid-of-default"}
        self.warnings = []
        self.told = []
        self.done = []
        self.proc = types.SimpleNamespace(Log=self.told.append)

    def owned_locks(self, level):
        assert level == locking.LEVEL_NODEGROUP
        return self.owned

    def LogWarning(self, text, *words):
        self.warnings.append(text % words if words else text)

    def run(self):
        """Check and execute, as Ganeti does."""
        nodes.check_modification(lambda: None, self, (), {})
        nodes.modify(self._stock, self, (self.told.append,), {})

    def _stock(self, feedback_fn):
        self.done.append("Ganeti's own")

    def refusal(self):
        with pytest.raises(ganeti_errors.OpPrereqError) as caught:
            nodes.check_modification(lambda: None, self, (), {})
        return caught.value.args[0]


@pytest.fixture
def made(ganeti, monkeypatch):
    """A finished storage cluster of three nodes with a mon each, two with a mgr."""
    ganeti.init()
    # Ganeti calls a node that is offline, or not its own yet, by its name alone.
    for node in list(ganeti.nodes.nodes.values()):
        ganeti.nodes.nodes[node.name] = node
        ganeti.rpc.names[node.name] = node.name
    monkeypatch.setattr(nodes.ganeti_rpc, "DnsOnlyRunner", lambda: ganeti.rpc)
    ganeti.rpc.sent.clear()
    ganeti.nodes.asked.clear()
    return ganeti


def silence(ganeti, *names):
    """Let nodes not answer."""
    uuids = {ganeti.config.find(name).uuid for name in names}

    def look(node, sent):
        if node in uuids:
            raise OSError("no route to host")
        return ganeti.nodes._look(node, sent)

    ganeti.rpc.answers("ceph_look", look)


def osd_of(ganeti, host):
    (osd,) = [one for one in ganeti.nodes.cluster.osds if one.host == host]
    return osd


def set_osds(ganeti, host, **changes):
    ganeti.nodes.cluster = dataclasses.replace(
        ganeti.nodes.cluster,
        osds=tuple(
            dataclasses.replace(one, **changes) if one.host == host else one
            for one in ganeti.nodes.cluster.osds
        ),
    )


# Offline


def test_a_node_that_goes_offline_stops_its_daemons_before_ganeti_lets_go(made):
    unit = Modification(made, "node3", offline=True)
    unit.run()
    assert made.nodes.asked == [("node1", "ok-to-stop"), ("node3", "stop")]
    assert unit.done == ["Ganeti's own"]
    # Of two mons each would be needed, as of three with one that is away for a while.
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2", "node3"}
    assert not osd_of(made, "node3").up
    assert osd_of(made, "node3").inside


@pytest.mark.parametrize("change", ["offline", "drained"])
def test_a_dry_run_tells_the_plan(made, change):
    osd = osd_of(made, "node3").id
    if change == "drained":
        # Without it the three copies have no place.
        made.nodes.cluster = dataclasses.replace(made.nodes.cluster, pools=())
    unit = Modification(made, "node3", dry_run=True, **{change: True})
    nodes.check_modification(lambda: None, unit, (), {})
    assert any(line.startswith("* ") for line in unit.told)
    assert any(f"osd.{osd}" in line for line in unit.told), unit.told
    assert all(line.startswith(("* ", "  - node")) for line in unit.told)


def test_ceph_is_asked_about_the_osds_that_stop(made):
    Modification(made, "node3", offline=True).run()
    assert made.nodes.left == [AskLeave((osd_of(made, "node3").id,), False)]


def test_ceph_is_asked_about_osds_that_have_another_place_in_the_crush_map(made):
    osd = osd_of(made, "node3")
    elsewhere = dataclasses.replace(osd, host="node3-ssd")
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster,
        osds=(*(one for one in made.nodes.cluster.osds if one != osd), elsewhere),
    )
    Modification(made, "node3", offline=True).run()
    assert made.nodes.left == [AskLeave((osd.id,), False)]


def test_its_mon_moves_to_a_node_that_has_none(made):
    node = make_node("node4")
    made.config.add_group("default", [*made.nodes.nodes.values(), node])
    for name in ("node1", "node2", "node3", "node4"):
        made.config.find(name).AddTag("ceph:storage:ready")
    made.config.find("default").AddTag(f"ceph:storage:ready:{made.nodes.cluster.fsid}")
    made.nodes.nodes[node.uuid] = node
    made.rpc.names[node.uuid] = "node4"
    Modification(made, "node3", offline=True).run()
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2", "node4"}
    # The new one is there before the old one goes.
    assert made.nodes.asked.index(("node4", "mon")) < made.nodes.asked.index(
        ("node1", "mon-removal")
    )


def test_the_active_mgr_hands_over(made):
    active = made.nodes.cluster.mgrs[0]
    Modification(made, active, offline=True).run()
    steps = [step for _, step in made.nodes.asked]
    assert steps.index("hand-over") < steps.index("stop")
    assert active not in made.nodes.cluster.mgrs


def test_needed_data_keeps_a_node_online(made):
    made.nodes.needed = {osd_of(made, "node3").id}
    unit = Modification(made, "node3", offline=True)
    text = unit.refusal()
    assert text.startswith("node3 cannot be taken offline: data would be out of reach")
    assert "they are needed" in text
    assert "--force does it anyway" in text
    assert made.nodes.asked == []


def test_force_goes_before_that_and_says_what_it_means(made):
    made.nodes.needed = {osd_of(made, "node3").id}
    unit = Modification(made, "node3", offline=True, force=True)
    unit.run()
    assert ("node3", "stop") in made.nodes.asked
    assert ("node1", "ok-to-stop") not in made.nodes.asked
    assert "they are needed" in unit.warnings[0]


def test_no_force_goes_before_the_quorum(made):
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, quorum=("node1", "node3")
    )
    unit = Modification(made, "node3", offline=True, force=True)
    assert "without its mon there is no quorum: mons node2" in unit.refusal()


def test_what_ceph_says_at_the_last_moment_keeps_all_as_it_is(made):
    made.nodes.failing["node1", "ok-to-stop"] = "data would be out of reach"
    unit = Modification(made, "node3", offline=True)
    with pytest.raises(ganeti_errors.OpExecError, match="out of reach"):
        unit.run()
    assert ("node1", "mon-removal") not in made.nodes.asked
    assert unit.done == []


def test_a_silent_node_that_ceph_takes_for_alive_keeps_the_others(made):
    silence(made, "node2")
    unit = Modification(made, "node3", offline=True)
    assert "node2 does not answer, and Ceph may not know yet" in unit.refusal()
    # It is known to be down by now, and Ceph counts with that.
    set_osds(made, "node2", up=False)
    Modification(made, "node3", offline=True).run()


def test_a_node_that_became_part_of_it_meanwhile_is_not_changed_unlocked(made):
    unit = Modification(made, "node3", offline=True)
    unit.owned = set()
    assert "run the command again" in unit.refusal()


def test_a_node_that_is_part_of_it_in_parts_is_not_let_go_unasked(made):
    node = made.config.find("node3")
    node.RemoveTag("ceph:storage:ready")
    node.AddTag("ceph:storage:joining")
    Modification(made, "node3", offline=True).run()
    assert made.nodes.left == [AskLeave((osd_of(made, "node3").id,), False)]
    assert "mark it offline first" in Removal(made, "node3").refusal()


def test_a_dead_node_is_taken_out_through_the_others(made):
    silence(made, "node3")
    set_osds(made, "node3", up=False)
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, quorum=("node1", "node2")
    )
    unit = Modification(made, "node3", offline=True)
    unit.run()
    assert {name for name, _ in made.nodes.asked} == {"node1", "node2"}
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2"}
    assert not osd_of(made, "node3").inside
    assert made.nodes.left == []


def test_a_silent_storage_cluster_keeps_all_nodes(made):
    made.nodes.cluster = None
    unit = Modification(made, "node3", offline=True)
    text = unit.refusal()
    assert "the storage cluster does not answer" in text
    assert "'gnt-storage repair' starts its mons" in text
    assert "--force marks it offline" in text
    unit = Modification(made, "node3", offline=True, force=True)
    unit.run()
    assert made.nodes.asked == []
    assert unit.done == ["Ganeti's own"]
    assert "left as it is" in unit.warnings[0]


def test_the_next_one_takes_the_mons_of_both_out_of_the_map(made):
    Modification(made, "node3", offline=True).run()
    made.set_offline("node3")
    made.nodes.asked.clear()
    Modification(made, "node2", offline=True).run()
    assert [step for _, step in made.nodes.asked if step == "mon-removal"] == (
        ["mon-removal"] * 2
    )
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1"}


def test_what_only_does_not_answer_is_not_taken_for_dead(made):
    silence(made, "node3")
    text = Modification(made, "node3", offline=True).refusal()
    assert "its daemons run, and would be taken for dead" in text
    assert "--force does it anyway" in text
    assert made.nodes.asked == []


def test_by_force_ceph_need_not_be_asked(made):
    def leave(node, sent):
        raise OSError("no mgr answers")

    made.rpc.answers("ceph_leave", leave)
    text = Modification(made, "node3", offline=True).refusal()
    assert "no mgr answers" in text
    assert "--force does it anyway" in text
    unit = Modification(made, "node3", offline=True, force=True)
    unit.run()
    assert "no mgr answers" in unit.warnings[0]
    assert ("node3", "stop") in made.nodes.asked


def test_a_node_that_has_another_name_today_is_known_by_ganeti_s(made):
    uuid = made.config.find("node3").uuid
    node = made.nodes.nodes[uuid]
    made.nodes.nodes[uuid] = with_facts(node, hostname="other")
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, quorum=("node1", "node3")
    )
    text = Modification(made, "node3", offline=True, force=True).refusal()
    assert "without its mon there is no quorum" in text


def test_by_force_a_node_goes_offline_whatever_fails(made):
    made.nodes.failing["node3", "stop"] = "the disk is full"
    unit = Modification(made, "node3", offline=True, force=True)
    unit.run()
    assert unit.done == ["Ganeti's own"]
    assert "the disk is full" in unit.warnings[0]


def test_by_force_it_goes_offline_where_nothing_can_be_planned(made):
    made.config.find("node2").AddTag("ceph:rack:R+1")
    assert "'R+1'" in Modification(made, "node3", offline=True).refusal()
    unit = Modification(made, "node3", offline=True, force=True)
    unit.run()
    assert "nothing is made in the place of node3" in unit.warnings[0]
    assert ("node3", "stop") in made.nodes.asked


def test_an_offline_node_may_be_taken_out_once_more(made):
    """Ganeti had it offline, but its mon still counts."""
    Modification(made, "node3", offline=True).run()
    made.set_offline("node3")
    Modification(made, "node3", was="OFFLINE", offline=True).run()
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2"}
    assert not osd_of(made, "node3").inside
    made.nodes.asked.clear()
    Modification(made, "node3", was="OFFLINE", offline=True).run()
    assert made.nodes.asked == []


def test_the_osds_of_an_offline_node_are_marked_out_that_has_no_mon_any_more(made):
    """Ceph never does so by itself where they are all OSDs of a rack."""
    made.set_offline("node3")
    set_osds(made, "node3", up=False)
    mons = tuple(mon for mon in made.nodes.cluster.mons if mon.id != "node3")
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, mons=mons, quorum=("node1", "node2")
    )
    Modification(made, "node3", was="OFFLINE", offline=True).run()
    assert made.nodes.asked[-1] == ("node1", "mark")
    assert "node3" not in {name for name, _ in made.nodes.asked}
    assert not osd_of(made, "node3").inside


def test_an_offline_node_that_came_back_is_stopped_by_its_name(made):
    made.set_offline("node3")
    asked = AskLeave((osd_of(made, "node3").id,), False)
    unit = Modification(made, "node3", was="OFFLINE", offline=True)
    unit.run()
    assert made.nodes.asked[:2] == [("node1", "ok-to-stop"), ("node3", "stop")]
    assert made.nodes.left == [asked]
    stopped = [sent for name, sent in made.rpc.sent if name == "ceph_do"][1]
    assert list(stopped) == ["node3"]
    osd = osd_of(made, "node3")
    assert (osd.up, osd.inside) == (False, False)
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2"}
    Removal(made, "node3").run()


def test_a_dry_run_tells_that_too(made):
    made.set_offline("node3")
    unit = Modification(made, "node3", was="OFFLINE", offline=True, dry_run=True)
    nodes.check_modification(lambda: None, unit, (), {})
    assert any(line.startswith("  - node3: stop mon.node3, ") for line in unit.told), (
        unit.told
    )
    assert made.nodes.asked == []


def test_one_that_came_back_and_is_needed_or_silent_is_let_be(made):
    made.set_offline("node3")
    made.nodes.needed = {osd_of(made, "node3").id}
    unit = Modification(made, "node3", was="OFFLINE", offline=True)
    assert "out of reach: they are needed" in unit.refusal()
    made.nodes.needed = set()
    del made.nodes.nodes["node3"]
    unit = Modification(made, "node3", was="OFFLINE", offline=True)
    assert "its daemons run, and would be taken for dead" in unit.refusal()
    assert made.nodes.asked == []


def test_one_that_came_back_and_does_not_stop_takes_data_still(made):
    made.set_offline("node3")
    made.nodes.failing["node3", "stop"] = "it does not stop"
    unit = Modification(made, "node3", was="OFFLINE", offline=True)
    with pytest.raises(ganeti_errors.OpExecError, match="it does not stop"):
        unit.run()
    assert ("node1", "mark") not in made.nodes.asked
    assert osd_of(made, "node3").inside


def test_a_failure_leaves_the_node_online(made):
    made.nodes.failing["node3", "stop"] = "it does not stop"
    unit = Modification(made, "node3", offline=True)
    with pytest.raises(ganeti_errors.OpExecError, match="it does not stop"):
        unit.run()
    assert unit.done == []


@pytest.mark.parametrize(
    ("was", "step", "changes", "command"),
    [
        ("REGULAR", "stop", {"offline": True}, "--offline=yes"),
        ("REGULAR", "mark", {"drained": True, "force": True}, "--force --drained=yes"),
        # Ganeti itself makes it a candidate.
        (
            "DRAINED",
            "mark",
            {"drained": False, "master_candidate": True},
            "--drained=no",
        ),
        ("DRAINED", "mark", {"master_candidate": True}, "--master-candidate=yes"),
        (
            "DRAINED",
            "mark",
            {"master_capable": True, "master_candidate": True},
            "--master-capable=yes",
        ),
    ],
)
def test_the_command_that_goes_on_may_be_typed(made, was, step, changes, command):
    if was == "DRAINED":
        set_osds(made, "node3", inside=False)
    made.nodes.failing["node1", step] = made.nodes.failing["node3", step] = "no"
    unit = Modification(made, "node3", was=was, **changes)
    unit.new_role = ROLES["CANDIDATE"] if was == "DRAINED" else unit.new_role
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        unit.run()
    assert f"'gnt-node modify {command} node3'" in caught.value.args[0]


def test_a_node_that_comes_back_without_readd_is_told_of(made):
    unit = Modification(made, "node3", was="OFFLINE", offline=False)
    unit.run()
    assert made.nodes.asked == []
    assert "'gnt-storage repair node3' brings them back" in unit.warnings[0]


# A storage cluster that is half made


@pytest.fixture
def begun(made):
    """A storage cluster whose init failed."""
    group = made.config.find("default")
    fsid = made.nodes.cluster.fsid
    group.RemoveTag(f"ceph:storage:ready:{fsid}")
    group.AddTag(f"ceph:storage:initialising:{fsid}")
    for name in ("node1", "node2", "node3"):
        node = made.config.find(name)
        node.RemoveTag("ceph:storage:ready")
        node.AddTag("ceph:storage:joining")
    return made


GOES_ON = (
    "the storage cluster of group default is half made: 'gnt-storage"
    " init-distributed-storage -s ceph default' goes on with it"
)


def test_a_node_does_not_leave_what_is_half_made(begun):
    begun.config.add_group("other", [make_node("node7")])
    offline = Modification(begun, "node3", offline=True)
    assert offline.refusal().startswith(f"node3 cannot be taken offline: {GOES_ON}")
    removal = Removal(begun, "node3").refusal()
    assert removal.startswith(f"node3 cannot be removed: {GOES_ON}")
    assert "'gnt-node remove-tags node3 ceph:storage:joining'" in removal
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        Assignment(begun, "node3", "other").check()
    assert caught.value.args[0] == f"node3 cannot leave its group: {GOES_ON}"
    assert begun.rpc.sent == []


def test_by_force_a_dead_node_of_what_is_half_made_goes_offline(begun):
    unit = Modification(begun, "node3", offline=True, force=True)
    unit.run()
    assert unit.done == ["Ganeti's own"]
    assert unit.warnings == [f"the storage cluster is left as it is: {GOES_ON}"]
    assert begun.rpc.sent == []


def test_what_is_half_made_keeps_no_node_that_holds_nothing_of_it(begun):
    begun.config.add_group("other", [make_node("node7")])
    begun.config.find("node3").RemoveTag("ceph:storage:joining")
    for name in ("node3", "node7"):
        Modification(begun, name, offline=True).run()
        Removal(begun, name).run()
    Assignment(begun, "node3", "other").check()
    Modification(begun, "node2", drained=True).run()


# Drained


def test_the_data_of_a_drained_node_moves_away(made):
    grow_osds(made)
    Modification(made, "node3", drained=True).run()
    assert not osd_of(made, "node3").inside
    assert made.nodes.asked == [("node1", "mark")]


def grow_osds(ganeti):
    """Let there be a fourth host with an OSD."""
    first = ganeti.nodes.cluster.osds[0]
    more = dataclasses.replace(first, id=9, uuid="nine", host="node9", bucket="node9")
    ganeti.nodes.cluster = dataclasses.replace(
        ganeti.nodes.cluster,
        osds=(*ganeti.nodes.cluster.osds, more),
        places=(*ganeti.nodes.cluster.places, ("node9", (("root", "default"),))),
    )


def node_tags(ganeti, name="node3"):
    return set(ganeti.config.find(name).GetTags())


def test_an_osd_that_was_out_before_a_drain_stays_out_after_it(made):
    grow_osds(made)
    first = osd_of(made, "node3")
    out = dataclasses.replace(first, id=7, uuid="seven", inside=False)
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, osds=(*made.nodes.cluster.osds, out)
    )

    def inside():
        return {one.id: one.inside for one in made.nodes.cluster.osds}

    made.nodes.failing["node1", "mark"] = "no"
    drain = Modification(made, "node3", drained=True)
    with pytest.raises(ganeti_errors.OpExecError):
        drain.run()
    noted = {"ceph:storage:drained", f"ceph:storage:drained:{first.id}"}
    assert node_tags(made) >= noted
    # It was done all the same.
    made.nodes.failing.clear()
    set_osds(made, "node3", inside=False)
    Modification(made, "node3", drained=True).run()
    assert node_tags(made) == {"ceph:storage:ready", *noted}
    Modification(made, "node3", was="DRAINED", drained=False).run()
    assert inside()[first.id]
    assert not inside()[7]
    assert node_tags(made) == {"ceph:storage:ready"}


def test_a_dry_run_of_a_drain_notes_nothing(made):
    grow_osds(made)
    unit = Modification(made, "node3", drained=True, dry_run=True)
    nodes.check_modification(lambda: None, unit, (), {})
    assert node_tags(made) == {"ceph:storage:ready"}


def test_data_without_a_place_to_go_stays(made):
    unit = Modification(made, "node3", drained=True)
    text = unit.refusal()
    assert text.startswith("the data on node3 cannot move away: pool rbd keeps 3")
    assert made.nodes.asked == []
    Modification(made, "node3", drained=True, force=True).run()
    assert not osd_of(made, "node3").inside


@pytest.mark.parametrize(
    ("was", "drained", "mark"),
    [("CANDIDATE", True, "marks it drained"), ("DRAINED", False, "takes the mark off")],
)
def test_a_silent_storage_cluster_moves_nothing(made, was, drained, mark):
    made.nodes.cluster = None
    text = Modification(made, "node3", was=was, drained=drained).refusal()
    assert f"--force {mark}" in text
    unit = Modification(made, "node3", was=was, drained=drained, force=True)
    unit.run()
    assert made.nodes.asked == []
    assert unit.done == ["Ganeti's own"]
    assert "left as it is" in unit.warnings[0]


def test_data_without_room_stays(made):
    grow_osds(made)
    made.nodes.used = 2**40 * 7 // 10
    text = Modification(made, "node3", drained=True).refusal()
    assert "716.8 GiB are to move" in text
    assert made.nodes.asked == []


def test_what_moved_away_may_come_back(made):
    set_osds(made, "node3", inside=False)
    Modification(made, "node3", was="DRAINED", drained=False).run()
    assert osd_of(made, "node3").inside


def test_a_master_candidate_is_drained_no_more(made):
    set_osds(made, "node3", inside=False)
    unit = Modification(made, "node3", was="DRAINED", master_candidate=True)
    unit.new_role = ROLES["CANDIDATE"]
    unit.run()
    assert osd_of(made, "node3").inside


# Anything else


def test_other_changes_ask_nobody(made):
    unit = Modification(made, "node3", master_candidate=True)
    unit.run()
    assert made.rpc.sent == []
    assert unit.done == ["Ganeti's own"]


@pytest.mark.parametrize("why", ["another group", "not part yet", "no storage"])
def test_nodes_without_storage_are_ganetis_alone(made, why):
    if why == "another group":
        made.config.add_group("other", [make_node("node7")])
    name = "node7" if why == "another group" else "node3"
    if why == "not part yet":
        made.config.find("node3").RemoveTag("ceph:storage:ready")
    if why == "no storage":
        group = made.config.find("default")
        for tag in list(group.GetTags()):
            group.RemoveTag(tag)
    unit = Modification(made, name, offline=True)
    nodes.lock_groups(lambda: None, unit, (), {})
    unit.run()
    assert made.rpc.sent == []
    assert unit.needed_locks == {}


def test_the_address_of_daemons_does_not_change(made):
    unit = Modification(made, "node3", secondary_ip="198.51.100.9")
    assert "listen at its addresses" in unit.refusal()
    same = Modification(made, "node3", secondary_ip=unit.node.secondary_ip)
    same.run()


@pytest.mark.parametrize(
    ("change", "locked"),
    [
        ({"offline": True}, True),
        ({"drained": False}, True),
        ({"master_candidate": True}, True),
        ({"master_capable": True}, True),
        ({"secondary_ip": "198.51.100.9"}, False),
    ],
)
def test_nodes_leave_one_after_the_other(made, change, locked):
    unit = Modification(made, "node3", **change)
    nodes.lock_groups(lambda: None, unit, (), {})
    group = {locking.LEVEL_NODEGROUP: ["uuid-of-default"]}
    assert unit.needed_locks == (group if locked else {})
    assert unit.share_locks.get(locking.LEVEL_NODEGROUP, 0) == 0


# Removal


class Removal:
    """Stands for Ganeti's unit of gnt-node remove."""

    def __init__(self, ganeti, name, dry_run=False):
        self.cfg, self.rpc = ganeti.config, ganeti.rpc
        self.node = ganeti.config.GetNodeInfo(ganeti.config.find(name).uuid)
        self.op = types.SimpleNamespace(dry_run=dry_run)
        self.done = []
        self.told = []
        self.proc = types.SimpleNamespace(Log=self.told.append)

    def LogWarning(self, text, *args):
        self.told.append(text % args)

    def run(self):
        nodes.check_removal(lambda: None, self, (), {})
        nodes.remove(lambda feedback_fn: self.done.append(1), self, (print,), {})

    def refusal(self):
        with pytest.raises(ganeti_errors.OpPrereqError) as caught:
            nodes.check_removal(lambda: None, self, (), {})
        return caught.value.args[0]


def test_a_removed_node_is_forgotten_first(made):
    Modification(made, "node3", offline=True).run()
    made.set_offline("node3")
    made.nodes.asked.clear()
    made.nodes.left.clear()
    gone = osd_of(made, "node3").id
    unit = Removal(made, "node3")
    unit.run()
    # Their configuration names a mon less.
    assert made.nodes.asked == [
        ("node1", "mon-removal"),
        ("node1", "configure"),
        ("node2", "configure"),
        ("node1", "forget"),
        ("node3", "keys"),
    ]
    assert made.nodes.left == [AskLeave((gone,), True)]
    assert (unit.done, unit.told) == ([1], [])
    assert len(made.nodes.cluster.osds) == 2


def test_a_dry_run_of_a_removal_tells_the_plan(made):
    Modification(made, "node3", offline=True).run()
    made.set_offline("node3")
    made.nodes.asked.clear()
    unit = Removal(made, "node3", dry_run=True)
    nodes.check_removal(lambda: None, unit, (), {})
    assert any("remove host node3 and the keys" in line for line in unit.told)
    assert made.nodes.asked == []


@pytest.mark.parametrize("tag", ["ceph:storage:ready", "ceph:storage:joining"])
def test_the_mark_that_is_to_be_taken_off_is_the_one_that_is_there(made, tag):
    made.nodes.cluster = None
    node = made.config.find("node3")
    for one in list(node.GetTags()):
        node.RemoveTag(one)
    node.AddTag(tag)
    assert f"'gnt-node remove-tags node3 {tag}'" in Removal(made, "node3").refusal()


def test_two_places_of_one_node_are_told_with_its_name(made):
    for rack in ("R1", "R2"):
        made.config.find("node2").AddTag(f"ceph:rack:{rack}")
    text = Modification(made, "node3", offline=True).refusal()
    assert "node2: two tags name the rack of one node: R1 and R2" in text
    assert "'gnt-node remove-tags node2 ceph:TYPE:NAME'" in text


def test_an_online_node_is_not_removed(made):
    text = Removal(made, "node3").refusal()
    assert "mark it offline first" in text
    assert made.nodes.asked == []


def test_a_node_that_runs_osds_is_not_removed(made):
    made.set_offline("node3")
    text = Removal(made, "node3").refusal()
    assert "still run" in text
    assert made.nodes.left == []


def test_the_only_copy_of_anything_is_not_removed(made):
    made.set_offline("node3")
    set_osds(made, "node3", up=False)
    made.nodes.needed = {osd_of(made, "node3").id}
    text = Removal(made, "node3").refusal()
    assert "may hold what is nowhere else: they are needed" in text
    assert made.nodes.asked == []


def test_a_mon_that_still_counts_goes_with_it(made):
    made.set_offline("node3")
    set_osds(made, "node3", up=False)
    Removal(made, "node3").run()
    assert [step for _, step in made.nodes.asked] == [
        *("configure", "configure", "mon-removal", "forget", "keys")
    ]
    for name in ("node1", "node2"):
        conf = made.nodes.nodes[made.config.find(name).uuid].facts.conf
        assert "mon_initial_members = node1,node2\n" in conf


@pytest.fixture
def four(made):
    """A fourth node, which came when the third was offline, its mon in the map."""
    Modification(made, "node3", offline=True).run()
    made.set_offline("node3")
    new = make_node("node4")
    made.config.add_group("new", [new])
    made.config.find("node4").group = "uuid-of-default"
    members = made.config.find("default").members
    made.config.find("default").members = [*members, new.uuid]
    made.nodes.nodes[new.uuid] = new
    made.rpc.names[new.uuid] = "node4"
    made.run("repair", nodes="node4")
    assert {mon.id for mon in made.nodes.cluster.mons} == {"node1", "node2", "node3"}
    made.nodes.asked.clear()
    return made


def test_another_node_gets_the_mon_of_one_that_is_removed(four):
    Removal(four, "node3").run()
    steps = [step for _, step in four.nodes.asked]
    # A dead one leaves first, and the new one is waited for.
    assert steps[0] == "mon-removal"
    assert ("node4", "mon") in four.nodes.asked
    assert steps.index("mon") < steps.index("quorum") < steps.index("forget")
    assert {mon.id for mon in four.nodes.cluster.mons} == {"node1", "node2", "node4"}
    for name in ("node1", "node2", "node4"):
        conf = four.nodes.nodes[four.config.find(name).uuid].facts.conf
        assert "mon_initial_members = node1,node2,node4\n" in conf
    assert "there is nothing to do" in "".join(four.run("repair", nodes=""))


def test_a_removal_goes_on_where_nothing_can_be_made_instead(four):
    def fail(node, sent):
        raise OSError("no keys")

    four.rpc.answers("ceph_keys", fail)
    unit = Removal(four, "node3")
    unit.run()
    assert unit.done == [1]
    assert unit.told[0].startswith("nothing is made in the place of node3: no node has")
    assert [step for _, step in four.nodes.asked] == ["mon-removal", "forget", "keys"]


@pytest.mark.parametrize("dead", [True, False])
def test_a_node_that_keeps_its_keys_is_removed_and_told_of(made, dead):
    made.set_offline("node3")
    set_osds(made, "node3", up=False)
    if dead:
        del made.nodes.nodes["node3"]
    else:
        made.nodes.failing["node3", "keys"] = "the file system is read-only"
    unit = Removal(made, "node3")
    unit.run()
    assert unit.done == [1]
    (told,) = unit.told
    assert told.startswith("node3 still has keys of the storage cluster")
    assert "erase its disks" in told
    assert told.endswith("(the file system is read-only)") != dead


def test_what_cannot_be_forgotten_is_not_removed(made):
    made.set_offline("node3")
    set_osds(made, "node3", up=False)
    made.nodes.failing["node1", "forget"] = "no"
    unit = Removal(made, "node3")
    with pytest.raises(ganeti_errors.OpExecError, match="gnt-node remove node3"):
        unit.run()
    assert unit.done == []


def test_nodes_without_storage_are_removed_by_ganeti_alone(made):
    made.config.find("node3").RemoveTag("ceph:storage:ready")
    unit = Removal(made, "node3")
    unit.run()
    assert made.rpc.sent == []
    assert unit.done == [1]


# Addition


@pytest.fixture
def addition(made):
    """Check whether a node may be added."""

    def check(node, group="uuid-of-default", readd=False, tags=(), was=None):
        unit = types.SimpleNamespace(
            op=types.SimpleNamespace(
                readd=readd,
                primary_ip=node.primary_ip,
                secondary_ip=node.secondary_ip,
            ),
            cfg=made.config,
            rpc=made.rpc,
            node_group=group,
            new_node=types.SimpleNamespace(
                name=node.name,
                primary_ip=was or node.primary_ip,
                secondary_ip=node.secondary_ip,
                GetTags=lambda: set(tags),
            ),
        )
        made.nodes.nodes[node.name] = node
        made.rpc.names[node.name] = node.name
        nodes.check_addition(lambda: None, unit, (), {})

    return check


def test_a_blank_node_may_be_added(addition):
    addition(make_node("node4"))


def test_a_node_whose_disk_carries_something_may_not(addition):
    node = make_node("node4")
    (disk,) = node.facts.disks
    node = with_facts(node, disks=(dataclasses.replace(disk, content="a file system"),))
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        addition(node)
    assert "node4: " in caught.value.args[0]
    assert "carries a file system" in caught.value.args[0]


@pytest.mark.parametrize("readd", [False, True])
def test_a_node_with_an_osd_that_was_removed_may_not(addition, made, readd):
    node = make_node("node4")
    (disk,) = node.facts.disks
    label = make_label(made.nodes.cluster.fsid, osd_uuid="removed", osd_id=7)
    disks = (dataclasses.replace(disk, content="an OSD", label=label),)
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        addition(with_facts(node, disks=disks), readd=readd)
    assert "carries osd.7, which was removed" in caught.value.args[0]


def test_a_node_without_the_extension_may_not(addition, made):
    node = make_node("node4")

    def look(uuid, sent):
        if uuid == "node4":
            raise OSError("Error code 404.")
        return made.nodes._look(uuid, sent)

    made.rpc.answers("ceph_look", look)
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        addition(node)
    assert "has no ganeti-ceph" in caught.value.args[0]


@pytest.mark.parametrize(
    ("readd", "tags", "may"),
    [
        # Of a node that is new nobody can have said where it stands.
        (False, (), True),
        (True, (), False),
        (True, ("ceph:rack:R1",), True),
    ],
)
def test_where_a_node_stands_is_known_before_it_comes_back(
    addition, made, readd, tags, may
):
    made.config.find("cluster").AddTag("ceph:failure-domain:rack")
    refused = contextlib.nullcontext()
    if not may:
        words = "gnt-node add-tags node4 ceph:rack:NAME"
        refused = pytest.raises(ganeti_errors.OpPrereqError, match=words)
    with refused:
        addition(make_node("node4"), readd=readd, tags=tags)


def test_daemons_do_not_come_back_at_another_address_unasked(addition, made):
    node, was = make_node("node4"), "192.0.2.99"
    # One that the storage cluster does not know may have any.
    addition(node, readd=True, was=was)
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        addition(node, readd=True, was=was, tags=["ceph:storage:ready"])
    text = caught.value.args[0]
    assert "node4 has the address 192.0.2.4 now" in text
    assert "known at 192.0.2.99: give it that one back" in text
    assert "'gnt-node remove node4'" in text
    # There the daemons listen at others.
    made.config.find("cluster").AddTag("ceph:public-network:192.0.2.0/24")
    addition(node, readd=True, was=was, tags=["ceph:storage:ready"])


def test_a_node_of_another_group_is_not_looked_at(addition, made):
    addition(make_node("node4"), group="uuid-of-other")
    assert made.rpc.sent == []


# Groups and the cluster


class Assignment:
    """Stands for Ganeti's unit of gnt-group assign-nodes."""

    def __init__(self, ganeti, name, group):
        self.cfg = ganeti.config
        self.group_uuid = f"uuid-of-{group}"
        uuid = ganeti.config.find(name).uuid
        self.op = types.SimpleNamespace(node_uuids=[uuid])

    def check(self):
        nodes.check_assignment(lambda: None, self, (), {})


@pytest.fixture
def groups(made):
    made.config.add_group("other", [make_node("node7")])
    return made


def test_an_online_node_does_not_enter_the_storages_group(groups):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        Assignment(groups, "node7", "default").check()
    text = caught.value.args[0]
    assert "'gnt-node modify --offline=yes node7'" in text
    assert "'gnt-node add --readd node7'" in text
    groups.set_offline("node7")
    Assignment(groups, "node7", "default").check()


def test_daemons_do_not_leave_their_group(groups):
    groups.set_offline("node3")
    with pytest.raises(ganeti_errors.OpPrereqError, match="is part of the storage"):
        Assignment(groups, "node3", "other").check()
    groups.config.find("node3").RemoveTag("ceph:storage:ready")
    Assignment(groups, "node3", "other").check()


def test_an_assignment_that_changes_nothing_is_let_be(groups):
    Assignment(groups, "node3", "default").check()


def test_a_cluster_with_storage_is_not_destroyed(made):
    unit = types.SimpleNamespace(cfg=made.config)
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        nodes.check_destruction(lambda: None, unit, (), {})
    assert made.nodes.cluster.fsid in caught.value.args[0]


@pytest.mark.parametrize("tag", [None, "ceph:storage:marked"])
def test_one_without_storage_is(ganeti, tag):
    if tag:
        ganeti.config.find("default").AddTag(tag)
    unit = types.SimpleNamespace(cfg=ganeti.config)
    assert nodes.check_destruction(lambda: "done", unit, (), {}) == "done"
