"""What verification and the status screen learn of the storage cluster."""

import dataclasses

import pytest
from fakes import with_facts
from ganeti import constants

from ganeti_ceph import wire
from ganeti_ceph.facts import OsdUse, PoolUse, Report
from ganeti_ceph.jobs import status
from ganeti_ceph.jobs.survey import find_storage


class Verification:
    """Stands for Ganeti's unit; keeps what it is told."""

    ETYPE_ERROR, ETYPE_WARNING = "ERROR", "WARNING"

    def __init__(self, ganeti):
        self.cfg, self.rpc = ganeti.config, ganeti.rpc
        self.all_node_info = ganeti.config.GetAllNodesInfo()
        self.all_group_info = ganeti.config.GetAllNodeGroupsInfo()
        self.found = []

    def _ErrorMsg(self, code, item, text, level=ETYPE_ERROR):
        self.found.append((code, item, level, text))

    def run(self):
        told = []
        status.verify(self, told.append)
        return told


@pytest.fixture
def made(ganeti):
    ganeti.init()
    ganeti.rpc.sent.clear()
    return ganeti


def storage_of(ganeti):
    groups = {
        uuid: (group.name, group.GetTags())
        for uuid, group in ganeti.config.GetAllNodeGroupsInfo().items()
    }
    return find_storage(groups, ganeti.config.GetClusterInfo().GetTags())


def members(ganeti):
    return list(ganeti.config.GetAllNodesInfo().values())


def report(ganeti):
    return Report(
        ganeti.nodes.cluster,
        30,
        3,
        (PoolUse("rbd", 1, 9),),
        (OsdUse(0, 10, 1),),
        (("active+clean", 128),),
        *([0] * 7),
    )


@pytest.fixture
def reporting(made):
    made.rpc.answers("ceph_report", lambda node, sent: wire.encode(report(made)))
    return made


def test_a_good_cluster_is_not_complained_of(made):
    unit = Verification(made)
    assert unit.run() == ["* Verifying the storage cluster"]
    assert unit.found == []


def test_without_storage_nobody_is_asked(ganeti):
    unit = Verification(ganeti)
    assert unit.run() == []
    assert ganeti.rpc.sent == []


def test_what_is_half_made_is_an_error(made):
    group = made.config.find("default")
    fsid = made.nodes.cluster.fsid
    group.RemoveTag(f"ceph:storage:ready:{fsid}")
    group.AddTag(f"ceph:storage:initialising:{fsid}")
    unit = Verification(made)
    unit.run()
    ((code, item, level, text),) = unit.found
    assert (code, item, level) == (constants.CV_ECLUSTERCFG, None, "ERROR")
    assert "is half made: 'gnt-storage init-distributed-storage -s ceph" in text
    assert made.rpc.sent == []


def test_what_is_of_a_node_is_said_of_it_and_the_rest_of_the_cluster(made):
    made.config.find("node3").RemoveTag("ceph:storage:ready")
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, checks=("POOL_FULL: 1 pool is full",)
    )
    unit = Verification(made)
    unit.run()
    (node, cluster) = unit.found
    assert node[:3] == (constants.CV_ENODESETUP, "node3", "ERROR")
    assert cluster[:3] == (constants.CV_ECLUSTERCFG, None, "ERROR")
    assert cluster[3].startswith("storage cluster: 1 pool is full (POOL_FULL)")


def test_a_warning_is_one(made):
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster, checks=("OSD_NEARFULL: 1 nearfull osd(s)",)
    )
    unit = Verification(made)
    unit.run()
    assert [one[2] for one in unit.found] == ["WARNING"]


def test_tags_that_contradict_each_other_are_an_error(made):
    for rack in ("r1", "r2"):
        made.config.find("node2").AddTag(f"ceph:rack:{rack}")
    unit = Verification(made)
    unit.run()
    ((_, _, level, text),) = unit.found
    assert level == "ERROR"
    assert "two tags name the rack of one node" in text


def test_a_silent_cluster_is_an_error(made):
    made.nodes.cluster = None
    unit = Verification(made)
    unit.run()
    ((code, item, level, text),) = unit.found
    assert (code, item, level) == (constants.CV_ECLUSTERCFG, None, "ERROR")
    assert "does not answer: node" in text
    assert "mon.node1 runs; mon.node2 runs; mon.node3 runs: bring" in text


def test_that_mons_are_stopped_is_said_with_the_command_and_what_nodes_tell(reporting):
    made = reporting
    made.nodes.stop_mons("node2", "node3")
    uuid = made.config.find("node1").uuid
    made.nodes.nodes[uuid] = with_facts(
        made.nodes.nodes[uuid], loose_keys=("/etc/ceph/x",), has_client=False
    )
    silent = "the storage cluster does not answer: "
    mons = "mon.node1 runs; mon.node2 does not run; mon.node3 does not run:"
    mends = "'gnt-storage repair' starts mon.node2, mon.node3"
    unit = Verification(made)
    unit.run()
    first, *others = unit.found
    assert first[3].startswith(silent)
    assert f"{mons} {mends}" in first[3]
    told = " ".join(text for _, _, _, text in others)
    assert "/etc/ceph/x has another owner or mode than a key should" in told
    assert "node1: to do: " in told

    def fail(node, sent):
        raise OSError("no quorum")

    made.rpc.answers("ceph_report", fail)
    seen = status.look(made.rpc, members(made), storage_of(made))
    assert seen.findings[0].text == f"{silent}{mons} {mends}"
    assert len(seen.findings) == len(unit.found)


def test_the_screen_gets_all_in_one_question_to_ceph(reporting):
    seen = status.look(reporting.rpc, members(reporting), storage_of(reporting))
    assert seen.report == report(reporting)
    assert [one.name for one in seen.members] == ["node1", "node2", "node3"]
    assert seen.findings == ()
    assert reporting.calls() == ["ceph_look", "ceph_report"]


def test_another_node_is_asked_where_one_fails(made):
    asked = []

    def answer(node, sent):
        asked.append(node)
        if len(asked) < 3:
            raise OSError("no")
        return wire.encode(report(made))

    made.rpc.answers("ceph_report", answer)
    seen = status.look(made.rpc, members(made), storage_of(made))
    assert seen.report is not None
    assert len(set(asked)) == 3


def test_a_silent_cluster_is_shown_as_such_and_its_silent_nodes(made):
    gone = made.config.find("node2").uuid

    def fail(node, sent):
        raise OSError("no quorum")

    def look(node, sent):
        if node == gone:
            raise OSError("no route")
        return made.nodes._look(node, sent)

    made.rpc.answers("ceph_report", fail)
    made.rpc.answers("ceph_look", look)
    seen = status.look(made.rpc, members(made), storage_of(made))
    assert seen.report is None
    assert "no quorum" in seen.silence
    silent, cluster = seen.findings
    assert silent.node == "node2"
    assert "'systemctl restart ganeti' there" in silent.text
    assert "'gnt-node modify --offline=yes node2' lets the others" in silent.text
    assert "node2 with mon.node2 does not answer (no route)" in cluster.text


def test_an_offline_node_is_not_asked(reporting):
    reporting.set_offline("node3")
    seen = status.look(reporting.rpc, members(reporting), storage_of(reporting))
    assert reporting.sent_to("ceph_look") == {"node1", "node2"}
    assert [one.offline for one in seen.members] == [False, False, True]
