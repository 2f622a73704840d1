"""What Ceph tells of the CRUSH map."""

import pytest

from ganeti_ceph.facts import Rule
from ganeti_ceph.node import crush

TREE = {
    "nodes": [
        {"id": -1, "name": "default", "type": "root", "children": [-2, -5]},
        {"id": -2, "name": "b", "type": "room", "children": [-3]},
        {"id": -3, "name": "r1", "type": "rack", "children": [-4, 1]},
        {"id": -4, "name": "node1", "type": "host", "children": [0]},
        {"id": 0, "name": "osd.0", "type": "osd"},
        {"id": 1, "name": "osd.1", "type": "osd"},
        {"id": -5, "name": "node2", "type": "host", "children": []},
        {"id": -6, "name": "node3", "type": "host", "children": [2]},
        {"id": 2, "name": "osd.2", "type": "osd"},
    ]
}


def test_an_osd_in_a_rack_alone_is_in_no_host():
    assert crush.buckets(TREE) == {0: "node1", 2: "node3"}


def test_each_host_s_place_is_told_from_its_root_on():
    assert crush.places(TREE) == {
        "node1": (("root", "default"), ("room", "b"), ("rack", "r1")),
        "node2": (("root", "default"),),
        # Nobody has put it below a root.
        "node3": (),
    }


TAKE = {"op": "take", "item": -1, "item_name": "default"}
TAKE_SSD = {"op": "take", "item": -9, "item_name": "fast~ssd"}
EMIT = {"op": "emit"}


def choose(op="chooseleaf_firstn", kind="host", num=0):
    return {"op": op, "num": num, "type": kind}


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([TAKE, choose(), EMIT], Rule("default", "host", None)),
        ([TAKE_SSD, choose(kind="rack"), EMIT], Rule("fast", "rack", "ssd")),
        ([TAKE, choose("choose_firstn", "osd"), EMIT], Rule("default", "osd", None)),
        # As erasure-coded pools have it.
        (
            [
                {"op": "set_chooseleaf_tries", "num": 5},
                {"op": "set_choose_tries", "num": 100},
                TAKE,
                choose("chooseleaf_indep"),
                EMIT,
            ],
            Rule("default", "host", None),
        ),
        # Two copies in each of two racks, one on flash and others elsewhere, none.
        ([TAKE, choose("choose_firstn", "rack", 2), choose(num=2), EMIT], None),
        ([TAKE_SSD, choose(num=1), EMIT, TAKE, choose(num=-1), EMIT], None),
        ([TAKE, choose(num=2), EMIT], None),
        ([TAKE, choose("choose_firstn", "rack"), EMIT], None),
        ([], None),
    ],
)
def test_rules_of_the_plain_kind_are_read_and_others_left_alone(steps, rule):
    dump = [{"rule_id": 3, "rule_name": "r", "steps": steps}]
    assert crush.rules(dump) == ({3: rule} if rule else {})
