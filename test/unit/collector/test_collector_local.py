"""What a node knows of its daemons and of Ganeti's names without Ceph."""

import os

import psutil
import pytest

from ganeti_ceph.collector import local
from ganeti_ceph.collector.facts import Daemon

ME = os.getpid()
SHOWN = f"""\
MainPID={ME}
NRestarts=2
Id=ceph-osd@3.service
ActiveState=active
SubState=running

MainPID=0
NRestarts=0
Id=ceph-mon@node1.service
ActiveState=failed
SubState=failed

MainPID=0
NRestarts=0
Id=ceph-volume@lvm-0.service
ActiveState=active
SubState=exited
"""


def test_daemons_have_what_systemd_and_the_kernel_say():
    mon, osd = local.daemons(lambda argv, **_: SHOWN)
    assert mon == Daemon("mon", "node1", "failed", "failed", 0)
    assert (osd.kind, osd.name, osd.state, osd.restarts) == ("osd", "3", "active", 2)
    assert osd.pid == ME and osd.running and not mon.running
    assert osd.started == pytest.approx(psutil.Process().create_time())
    assert osd.memory > 2**20 and osd.cpu > 0


def test_systemd_is_asked_once_for_all():
    asked = []
    local.daemons(lambda argv, **_: asked.append(argv) or "")
    ((*_, mon, mgr, osd),) = asked
    assert (mon, mgr, osd) == (
        "ceph-mon@*.service",
        "ceph-mgr@*.service",
        "ceph-osd@*.service",
    )


@pytest.mark.parametrize("shown", ["", "\n\n", "nonsense", "Id=ceph-osd@3.service"])
def test_half_an_answer_is_none_or_a_daemon_of_which_little_is_known(shown):
    found = local.daemons(lambda argv, **_: shown)
    assert [(one.kind, one.name, one.state) for one in found] in (
        [],
        [("osd", "3", "")],
    )


def test_a_process_that_ended_is_not_looked_for():
    shown = SHOWN.replace(f"MainPID={ME}", f"MainPID={2**22 + 1}")
    assert not local.daemons(lambda argv, **_: shown)[1].running


def test_names_are_those_that_ganeti_wrote(tmp_path):
    for name, text in {
        "cluster_name": "cluster.example\n",
        "node_list": "node1.example\nnode2.example\n",
        "node_primary_ips": "node1.example 192.0.2.1\nnode2.example 192.0.2.2\n",
        "node_secondary_ips": "node1.example 10.0.0.1\nnode2.example 10.0.0.2\n",
    }.items():
        (tmp_path / f"ssconf_{name}").write_text(text)
    names = local.names(tmp_path)
    assert names.cluster == "cluster.example"
    assert names.node_at("10.0.0.2") == names.node_at("192.0.2.2") == "node2.example"
    assert names.node_of("node1") == "node1.example"
    assert names.node_at("10.9.9.9") == "10.9.9.9"
    assert names.node_of("other") == "other"


def test_without_ganeti_names_are_what_they_are(tmp_path):
    names = local.names(tmp_path / "none")
    assert names.cluster == "" and names.node_of("node1") == "node1"
