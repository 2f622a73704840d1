"""What a node tells of the images in the pools in use: each pool is listed once."""

import dataclasses
import json

import fakes
import pytest
from fakes import FSID, FakeImage, FakeRunner, recorded

from ganeti_ceph import ceph, wire
from ganeti_ceph.disk import image, mappers
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.facts import ImagesFacts, OsdWatches, PlaceFacts, UnknownImage
from ganeti_ceph.node import inventory, osd_watches
from ganeti_ceph.rpc import LookAtImages, LookAtPlace, Watched

VMS = Place("vms")
NAME = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11.rbd.disk0"
OTHER = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e12.rbd.disk11"


@pytest.fixture
def storage(monkeypatch):
    """A storage cluster with an empty pool, of which nothing is mapped."""
    storage = fakes.FakeCeph()
    storage.images["vms"] = {}
    monkeypatch.setattr(ceph.rados, "Rados", storage.rados)
    monkeypatch.setattr(image.rbd, "RBD", fakes.FakeRbd)
    monkeypatch.setattr(image.rbd, "Image", fakes.FakeOpenImage)
    storage.mapped = {}
    monkeypatch.setattr(mappers, "mapped", lambda run: dict(storage.mapped))
    return storage


def look(*places, watched=Watched.BY_LOOK):
    runner = FakeRunner()
    runner.knows("ip", "-json", "address", output=recorded("trixie", "ip.json"))
    facts = inventory.look(LookAtImages(places, watched), runner)
    sent = json.loads(json.dumps(wire.encode(facts)))
    assert wire.decode(ImagesFacts, sent) == facts
    return facts


def at(*disks, place=VMS, known=None):
    (facts,) = look(LookAtPlace(place, disks, known)).places
    return facts


def test_images_that_are_as_they_should_be_give_no_fact(storage):
    storage.images["vms"]["web"] = FakeImage(9)
    assert at("web") == PlaceFacts(None)


def test_who_has_an_image_open_is_told(storage):
    storage.images["vms"] |= {"web": FakeImage(9), "db": FakeImage(9)}
    storage.images["vms"]["web"].watchers = ["192.0.2.1:0/77", "[2001:db8::2]:0/78"]
    assert at("db", "web").watched == (("web", ("192.0.2.1", "2001:db8::2")),)


def test_looking_is_no_watching(storage):
    storage.images["vms"][NAME] = FakeImage(9)
    at(NAME, known=())
    assert storage.images["vms"][NAME].watchers == []


def test_no_image_is_opened_where_nobody_asks_who_has_it_open(storage):
    storage.images["vms"]["web"] = FakeImage(9)
    storage.images["vms"]["web"].broken = AssertionError("it was opened")
    asked = LookAtPlace(VMS, ("web", "lost"), None)
    (facts,) = look(asked, watched=Watched.NOT).places
    assert facts == PlaceFacts(None, missing=("lost",))


def test_the_osds_word_is_asked_for_instead_of_a_look(storage, monkeypatch):
    word = (OsdWatches(f"{FSID}/7", (("1234", ("192.0.2.1",)),)),)
    monkeypatch.setattr(osd_watches, "ask", lambda: word)
    storage.osd("a", up=True)
    storage.osd("b")
    storage.images["vms"]["web"] = FakeImage(9)
    storage.images["vms"]["web"].broken = AssertionError("it was opened")
    asked = LookAtPlace(VMS, ("web", "lost"), None)
    told = look(asked, watched=Watched.BY_OSDS)
    assert told.watches == word
    ids = (("web", storage.images["vms"]["web"].id),)
    assert told.places == (PlaceFacts(None, missing=("lost",), ids=ids),)
    asked = dataclasses.replace(asked, osds=True)
    (facts,) = look(asked, watched=Watched.BY_OSDS).places
    assert facts.osds == (f"{FSID}/0",)


def test_the_osds_are_asked_also_where_no_place_is_asked_about(monkeypatch):
    word = (OsdWatches(f"{FSID}/7", ()),)
    monkeypatch.setattr(osd_watches, "ask", lambda: word)
    assert look(watched=Watched.BY_OSDS).watches == word


def test_missing_images_are_told(storage):
    storage.images["vms"]["web"] = FakeImage(9)
    assert at("lost", "web", "gone").missing == ("lost", "gone")


def test_an_image_that_cannot_be_opened_does_not_hide_others(storage):
    storage.images["vms"] |= {"web": FakeImage(9), "db": FakeImage(9)}
    storage.images["vms"]["web"].broken = image.rbd.OSError("broken", 5)
    storage.images["vms"]["db"].watchers = ["192.0.2.1:0/77"]
    facts = at("web", "db")
    ((name, why),) = facts.broken
    assert name == "web"
    assert why.startswith("the image vms/web cannot be opened: ")
    assert facts.watched == (("db", ("192.0.2.1",)),)


# Unknown images


def test_an_image_of_ganetis_naming_that_nobody_knows_is_told(storage):
    storage.images["vms"] |= {NAME: FakeImage(9), OTHER: FakeImage(9)}
    assert at(known=(OTHER,)).unknown == (UnknownImage(NAME, "", ""),)


def test_a_copy_that_was_cut_short_is_told(storage):
    left = f"{NAME}{image.UNFINISHED}"
    storage.images["vms"] |= {NAME: FakeImage(9), left: FakeImage(9)}
    assert at(known=(NAME,)).unknown == (UnknownImage(left, "", ""),)


def test_an_image_that_is_asked_about_is_known(storage):
    storage.images["vms"][NAME] = FakeImage(9)
    assert at(NAME, known=()).unknown == ()


@pytest.mark.parametrize(
    "name",
    ["web", f"{NAME}-old", f"x{NAME}", NAME.upper(), NAME.replace("0d3f6a1c7e11", "0")],
)
def test_images_with_names_of_others_are_left_alone(storage, name):
    storage.images["vms"][name] = FakeImage(9)
    storage.images["vms"][name].broken = AssertionError("it was opened")
    assert at(known=()).unknown == ()


def test_nobody_looks_for_unknown_images_who_was_not_told_to(storage):
    storage.images["vms"][NAME] = FakeImage(9)
    assert at(known=None) == PlaceFacts(None)


def test_the_notes_of_an_unknown_image_are_told(storage):
    storage.images["vms"][NAME] = FakeImage(9)
    storage.images["vms"][NAME].metadata = {
        "ganeti.cluster": "far.example.org",
        "ganeti.disk": "0",
        "ganeti.instance": "web1",
    }
    assert at(known=()).unknown == (UnknownImage(NAME, "far.example.org", "web1"),)


def test_an_unknown_image_that_cannot_be_opened_is_told_too(storage):
    storage.images["vms"][NAME] = FakeImage(9)
    storage.images["vms"][NAME].broken = image.rbd.OSError("broken", 5)
    assert at(known=()).unknown == (UnknownImage(NAME, "", ""),)


# Places


def test_a_missing_pool_hides_no_other(storage):
    storage.images["hdd"] = {"web": FakeImage(9)}
    lost, hdd = look(
        LookAtPlace(Place("lost"), ("web",), None),
        LookAtPlace(Place("hdd"), ("web",), None),
    ).places
    assert "no pool lost" in lost.error
    assert hdd == PlaceFacts(None)
    assert storage.connections == 1


def test_the_places_are_in_the_order_in_which_they_were_asked_for(storage):
    storage.images["hdd"] = {}
    facts = look(
        LookAtPlace(Place("vms", user="zoe"), ("a",), None),
        LookAtPlace(Place("hdd"), ("b",), None),
        LookAtPlace(VMS, ("c",), None),
    )
    assert [place.missing for place in facts.places] == [("a",), ("b",), ("c",)]


def test_a_silent_cluster_is_waited_for_once_and_not_long(storage, monkeypatch):
    waits = []

    def rados(conffile, name, conf):
        waits.append(int(conf["client_mount_timeout"]))
        return storage.rados(conffile, name, conf)

    monkeypatch.setattr(ceph.rados, "Rados", rados)
    storage.reachable = False
    facts = look(LookAtPlace(VMS, ("a",), None), LookAtPlace(Place("hdd"), (), ()))
    assert all("cannot connect" in place.error for place in facts.places)
    assert len(waits) == 1
    assert waits[0] <= 10


def test_devices_and_addresses_are_told_also_without_ceph(storage):
    storage.reachable = False
    storage.mapped = {str(Volume("vms", "web")): "/dev/rbd0", "vms/db": "/dev/nbd1"}
    facts = look()
    assert facts.mapped == (("vms/db", "/dev/nbd1"), ("vms/web", "/dev/rbd0"))
    assert "10.77.0.1/24" in facts.addresses
    assert storage.clients == []
