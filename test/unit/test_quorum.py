"""A storage cluster that does not answer: which mons are started, and what is said."""

import pytest
from fakes import FSID, make_node, make_nodes, with_facts
from outcome import finished

from ganeti_ceph import quorum
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.steps import StartMon

PARAMS = StorageParameters(disks=("/dev/sdb",))


@pytest.fixture(scope="module")
def made():
    """Four nodes of a finished storage cluster, the first three with a mon."""
    return finished(make_nodes(4), PARAMS)[0]


def starts(nodes):
    return {
        step.mon
        for stage in quorum.start_stages(nodes, FSID)
        for _, steps in stage.steps
        for step in steps
        if isinstance(step, StartMon)
    }


def test_all_mons_that_there_are_are_started_at_once(made):
    (stage,) = quorum.start_stages(made, FSID)
    assert [uuid for uuid, _ in stage.steps] == [one.uuid for one in made[:3]]
    assert starts(made) == {"node1", "node2", "node3"}


def test_nothing_is_started_that_has_no_store(made):
    assert starts([with_facts(made[0], mons=()), *made[1:]]) == {"node2", "node3"}
    assert quorum.start_stages([made[3]], FSID) == ()


def test_a_mon_that_no_configuration_names_is_let_be(made):
    # What is left of a former one.
    former = with_facts(made[3], mons=("node4",))
    assert starts([*made[:3], former]) == {"node1", "node2", "node3"}


def test_another_cluster_s_mon_is_let_be(made):
    other = made[0].facts.conf.replace(FSID, FSID[::-1])
    alien = with_facts(make_node("node2"), conf=other, mons=("node2",))
    assert starts([alien]) == set()
    assert quorum.start_stages([make_node()], FSID) == ()


def test_where_each_mon_is_and_whether_it_runs_is_told(made):
    first = with_facts(made[0], stopped=("mon.node1", "osd.0"))
    told = quorum.told([first, made[3]], {"node2.a": "no route"}, ["node3.a"], FSID)
    assert told.split("; ") == [
        "mon.node1 does not run",
        "mon.node3 is on node3.a, which is offline ('gnt-node add --readd node3.a'"
        " brings it back)",
        "node2.a with mon.node2 does not answer (no route)",
    ]


def test_a_mon_without_a_store_is_told_as_such(made):
    told = quorum.told([with_facts(made[0], mons=()), *made[1:]], {}, [], FSID)
    assert told == "mon.node1 has no store; mon.node2 runs; mon.node3 runs"


def test_a_mon_on_a_host_that_is_no_node_is_told_as_such(made):
    told = quorum.told(made[1:], {}, [], FSID)
    assert told.startswith("mon.node1 is on no node of the group; mon.node2 runs")


def test_where_nobody_answers_that_is_told():
    told = quorum.told([], {"node1": "no route", "node2": "off"}, ["node3"], FSID)
    assert told == "node1 does not answer (no route); node2 does not answer (off)"
    assert quorum.told([], {}, ["node3"], FSID) == "no node has a mon of it"


def test_the_command_is_said_where_it_helps(made):
    assert quorum.remedy(made, FSID) == quorum.BY_HAND
    stopped = [with_facts(one, stopped=("mon.node2",)) for one in made]
    assert quorum.remedy(stopped, FSID) == "'gnt-storage repair' starts mon.node2"
