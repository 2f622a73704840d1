"""Changing the storage parameters as a job: what may change, and what is written."""

import pytest
from fakes import FSID
from ganeti import errors as ganeti_errors
from ganeti import locking

INITIALISED = [f"ceph:storage:ready:{FSID}", f"ceph:storage:initialising:{FSID}"]


def refusal(ganeti, text):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        ganeti.modify(text)
    assert ganeti.config.updates == []
    return caught.value.args


def test_a_change_replaces_the_tags_that_differ(ganeti):
    ganeti.set("ceph:pool:vms", "mine")
    assert ganeti.modify("ceph:disk=/dev/sdc,pool-size=2") == (
        "the storage parameters are changed"
    )
    assert ganeti.config.tags("cluster") == {
        "ceph:disk:/dev/sdc",
        "ceph:pool-size:2",
        "ceph:pool:vms",
        "mine",
    }
    assert ganeti.config.updates == ["cluster"]


def test_a_reset_takes_the_tag_away(ganeti):
    ganeti.set("ceph:pool:vms")
    ganeti.modify("ceph:pool=")
    assert ganeti.config.tags("cluster") == {"ceph:disk:/dev/sdb"}


def test_what_is_so_already_is_not_written(ganeti):
    assert ganeti.modify("ceph:disk=/dev/sdb") == (
        "the storage parameters are so already"
    )
    assert ganeti.config.updates == []


def test_a_dry_run_tells_what_would_change_and_changes_nothing(ganeti):
    ganeti.set("ceph:pool:vms")
    job = "modify-storage-parameters"
    said = ganeti.run(job, True, parameters="ceph:pool=,pool-size=2")
    assert said == ["- ceph:pool:vms", "+ ceph:pool-size:2"]
    same = ganeti.run(job, True, parameters="ceph:pool=vms")
    assert same == ["the storage parameters are so already"]
    assert ganeti.config.updates == []


def test_no_node_is_asked(ganeti):
    ganeti.modify("ceph:pool=vms")
    assert ganeti.calls() == []


@pytest.mark.parametrize("tag", [None, "ceph:storage:marked"])
def test_before_there_is_a_cluster_everything_may_change(ganeti, tag):
    if tag:
        ganeti.config.find("default").AddTag(tag)
    ganeti.modify("ceph:pool=vms")
    assert "ceph:pool:vms" in ganeti.config.tags("cluster")


@pytest.mark.parametrize("tag", INITIALISED)
def test_the_pool_of_a_cluster_cannot_change(ganeti, tag):
    ganeti.config.find("default").AddTag(tag)
    text, code = refusal(ganeti, "ceph:pool=vms")
    assert "pool" in text
    assert code == ganeti_errors.ECODE_STATE


@pytest.mark.parametrize("tag", INITIALISED)
def test_the_disks_of_a_cluster_can_change(ganeti, tag):
    ganeti.config.find("default").AddTag(tag)
    ganeti.modify("ceph:disk=/dev/sdc")
    assert ganeti.config.tags("cluster") == {"ceph:disk:/dev/sdc"}


def test_one_forbidden_change_forbids_all(ganeti):
    ganeti.config.find("default").AddTag(INITIALISED[0])
    refusal(ganeti, "ceph:disk=/dev/sdc,pool=vms")


def test_an_argument_that_is_wrong_is_shown_with_its_place(ganeti):
    text, code = refusal(ganeti, "ceph:colour=blue")
    assert "^" in text
    assert code == ganeti_errors.ECODE_INVAL


def test_a_command_without_parameters_is_refused_in_words(ganeti):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        ganeti.run("modify-storage-parameters")
    assert caught.value.args[1] == ganeti_errors.ECODE_INVAL


def test_the_groups_are_locked_so_that_none_is_initialised_meanwhile(ganeti):
    unit = ganeti.unit("modify-storage-parameters", parameters="ceph:pool=vms")
    unit.ExpandNames()
    assert unit.needed_locks == {locking.LEVEL_NODEGROUP: locking.ALL_SET}


def test_a_dry_run_checks_and_writes_nothing(ganeti):
    unit = ganeti.unit("modify-storage-parameters", True, parameters="ceph:pool=")
    unit.CheckPrereq()
    assert ganeti.config.updates == []
    bad = ganeti.unit("modify-storage-parameters", True, parameters="ceph:x=1")
    with pytest.raises(ganeti_errors.OpPrereqError):
        bad.CheckPrereq()
