"""Which images are open, as the OSDs of a node know it."""

import json

import pytest
from fakes import FSID, recorded

from ganeti_ceph.facts import OsdWatches
from ganeti_ceph.node import osd_watches


@pytest.fixture
def osds(osd_sockets):
    """Make OSDs that say this of their state, and of who watches what."""

    def make(watches, state="active"):
        def answer(name, asked):
            if asked["prefix"] == "status":
                number = int(name.removeprefix("osd_"))
                return {"cluster_fsid": FSID, "whoami": number, "state": state}
            assert asked["prefix"] == "dump_watchers"
            return watches[name]

        return osd_sockets(watches, answer)

    return make


def watch(name, address):
    return {"object": name, "entity_addr_t": {"type": "any", "addr": address}}


@pytest.mark.parametrize(
    ("release", "osd", "watched"),
    [
        (
            "bookworm",
            "9d6feb19-fe14-4480-b1a9-7935af24fb75/3",
            (("10bdce900c4", ("10.77.0.1",)), ("8682d965311f", ("10.77.0.1",))),
        ),
        (
            "trixie",
            "3eb3aaa7-22ec-4ff9-b253-277274c08bc9/1",
            (("112699894589", ("10.77.0.1",)),),
        ),
    ],
)
def test_what_real_osds_say_is_understood(osd_sockets, release, osd, watched):
    said = {
        "status": json.loads(recorded(release, "osd-status.json")),
        "dump_watchers": json.loads(recorded(release, "osd-dump-watchers.json")),
    }
    osd_sockets(["osd_0"], lambda name, asked: said[asked["prefix"]])
    assert osd_watches.ask() == (OsdWatches(osd, watched),)


def test_each_host_is_named_once_and_what_is_no_image_is_left_out(osds):
    osds(
        {
            "osd_0": [
                watch("rbd_header.1a", "[2001:db8::2]:0"),
                watch("rbd_header.1a", "192.0.2.1:0"),
                watch("rbd_header.1a", "192.0.2.1:0"),
                watch("rbd_directory", "192.0.2.1:0"),
                watch("notify.0", "192.0.2.1:0"),
            ],
            "osd_12": [],
        }
    )
    assert osd_watches.ask() == (
        OsdWatches(f"{FSID}/0", (("1a", ("192.0.2.1", "2001:db8::2")),)),
        OsdWatches(f"{FSID}/12", ()),
    )


def test_a_node_without_osds_says_nothing(osds):
    osds({})
    assert osd_watches.ask() == ()


def test_an_osd_that_does_not_answer_is_left_out(osds, caplog):
    made = osds({"osd_0": [], "osd_1": []})
    made.silent = "osd_0"
    assert [one.osd for one in osd_watches.ask()] == [f"{FSID}/1"]
    assert "cannot tell which images are open" in caplog.text


def test_an_answer_that_is_none_is_left_out(osds):
    no_address = {"object": "rbd_header.1a"}
    made = osds({"osd_0": [no_address], "osd_1": {"error": "no"}, "osd_2": []})
    assert [one.osd for one in osd_watches.ask()] == [f"{FSID}/2"]
    made.nonsense = b"ERROR: (22) Invalid argument"
    assert osd_watches.ask() == ()


@pytest.mark.parametrize("state", ["booting", "preboot", "waiting_for_healthy"])
def test_an_osd_that_is_not_yet_in_charge_is_left_out(osds, state):
    osds({"osd_0": []}, state=state)
    assert osd_watches.ask() == ()
