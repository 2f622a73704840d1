"""Tags: what they tell of a node group's storage cluster and of a node's place."""

import pytest
from fakes import FSID
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import state
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.state import GroupState, Phase


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("ceph:storage:marked", GroupState(Phase.MARKED, None)),
        (f"ceph:storage:initialising:{FSID}", GroupState(Phase.INITIALISING, FSID)),
        (f"ceph:storage:ready:{FSID}", GroupState(Phase.READY, FSID)),
    ],
)
def test_each_state_has_its_tag(tag, expected):
    assert state.group_state(["web", tag, "ceph:rack:r1"]) == expected
    assert expected.tag() == tag


@given(st.sampled_from(Phase), st.uuids())
def test_states_come_back_from_their_tags(phase, fsid):
    told = GroupState(phase, None if phase is Phase.MARKED else str(fsid))
    assert state.group_state([told.tag()]) == told


@pytest.mark.parametrize("tags", [[], ["web"], ["ceph:rack:r1", "ceph:pool:x"]])
def test_a_group_without_storage_has_no_state(tags):
    assert state.group_state(tags) is None


@pytest.mark.parametrize(
    "tag",
    [
        "ceph:storage:",
        "ceph:storage:ready",
        "ceph:storage:ready:",
        "ceph:storage:ready:no-uuid",
        f"ceph:storage:marked:{FSID}",
        f"ceph:storage:broken:{FSID}",
        f"ceph:storage:ready:{FSID}:more",
    ],
)
def test_a_tag_without_meaning_is_refused_by_its_name(tag):
    with pytest.raises(PrereqError, match="remove-tags") as caught:
        state.group_state([tag])
    assert tag in str(caught.value)


def test_tags_that_contradict_each_other_are_refused():
    with pytest.raises(PrereqError, match="contradict"):
        state.group_state(["ceph:storage:marked", f"ceph:storage:ready:{FSID}"])


def test_storage_tags_are_those_of_the_state_alone():
    tags = ["ceph:storage:ready", "ceph:rack:r1", "web"]
    assert state.storage_tags(tags) == {"ceph:storage:ready"}


def test_a_place_is_told_from_the_outside_in():
    tags = {
        "ceph:rack:r1",
        "ceph:room:b",
        "ceph:region:eu",
        "web",
        "ceph:storage:ready",
    }
    assert state.node_places(tags) == (("region", "eu"), ("room", "b"), ("rack", "r1"))


def test_a_node_is_in_one_rack_only():
    with pytest.raises(PrereqError, match="r1 and r2"):
        state.node_places(["ceph:rack:r1", "ceph:rack:r2"])


@pytest.mark.parametrize("osds", [set(), {0}, {5, 12, 130}])
def test_the_osds_of_a_drain_are_kept_in_tags(osds):
    tags = state.drained_tags(osds)
    assert state.storage_tags(tags) == tags
    assert state.drained_osds([*tags, state.NODE_READY, "ceph:rack:7"]) == osds


@pytest.mark.parametrize("tags", [[], ["ceph:storage:ready", "ceph:storage:drained:5"]])
def test_of_a_drain_that_nobody_noted_nothing_is_known(tags):
    assert state.drained_osds(tags) is None
