"""Ceph's trash: what users put there is shown, comes back, or is deleted in time."""

import errno
import time

import pytest
import rbd
from fakes import FakeImage, FakeOpenImage, FakeSnapshot, FakeTrashed

from ganeti_ceph.disk import image, trash
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import CephError
from ganeti_ceph.facts import TrashedImage

VMS = Place("vms")
BLUE = Place("vms", "blue")
#: A name of an image that no trash has.
LOST = "dead"


@pytest.fixture
def put(storage, images):
    """Put an image into the trash; return its id."""

    def put(name="web", image=None, grace=60, removed=None, place="vms", **rest):
        image = image or FakeImage(9)
        removed = storage.now if removed is None else removed
        one = FakeTrashed(name, image, removed, removed + grace, **rest)
        storage.trash.setdefault(place, {})[image.id] = one
        return image.id

    return put


def failure(function, *arguments):
    with pytest.raises(CephError) as caught:
        function(*arguments)
    return caught.value


# Looking


def test_an_image_in_the_trash_tells_all_of_itself(storage, put):
    kept = FakeImage(9)
    kept.metadata = {
        "ganeti.cluster": "one",
        "ganeti.instance": "web.example",
        "ganeti.disk": "1",
    }
    image_id = put("old", kept, 60)
    assert trash.content(VMS) == (
        TrashedImage(
            VMS,
            image_id,
            "old",
            9,
            "web.example:1",
            "one",
            storage.now,
            storage.now + 60,
        ),
    )


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({}, ""),
        ({"ganeti.disk": "1"}, ""),
        ({"ganeti.instance": "web"}, "web:?"),
    ],
)
def test_an_image_that_does_not_tell_has_no_owner(put, metadata, owner):
    kept = FakeImage(9)
    kept.metadata = metadata
    put("old", kept)
    assert [one.owner for one in trash.content(VMS)] == [owner]


def test_an_image_that_was_removed_through_us_is_there(storage, images):
    images["web"] = FakeImage(9)
    image.remove(Volume("vms", "web"), 60)
    assert [(one.name, one.size, one.until) for one in trash.content(VMS)] == [
        ("web", 9, storage.now + 60)
    ]


def test_an_image_of_which_the_removal_was_begun_has_no_size(storage, put):
    storage.trash["vms"] = {"0a": FakeTrashed("half", None, 5, 6)}
    (half,) = trash.content(VMS)
    assert (half.id, half.size, half.owner) == ("0a", None, "")


@pytest.mark.parametrize("source", ["MIRRORING", "MIGRATION", "REMOVING"])
def test_what_ceph_itself_put_there_is_not_ours(put, source):
    put(source=source)
    mine = put("mine")
    assert [one.id for one in trash.content(VMS)] == [mine]


def test_the_oldest_comes_first(put):
    new, old, older = put(removed=30), put(removed=20), put(removed=10)
    assert [one.id for one in trash.content(VMS)] == [older, old, new]


@pytest.fixture
def far_away(monkeypatch):
    """Let the node's clock show another time than UTC."""
    monkeypatch.setenv("TZ", "XYZ-9")
    time.tzset()
    assert time.localtime(0).tm_hour == 9
    yield
    monkeypatch.undo()
    time.tzset()


def test_moments_are_the_same_wherever_the_node_is(put, far_away):
    put(removed=1719792000, grace=0)
    (one,) = trash.content(VMS)
    assert one.removed == one.until == 1719792000


def test_only_the_trash_of_the_place_is_looked_into(storage, put):
    storage.images["vms/blue"] = {}
    put("outside")
    blue = put("inside", place="vms/blue")
    (one,) = trash.content(BLUE)
    assert (one.id, one.place) == (blue, BLUE)


def test_looking_makes_nobody_a_watcher(put, monkeypatch):
    opened = []

    class Noting(FakeOpenImage):
        def size(self):
            opened.append(list(self._image("size").watchers))
            return super().size()

    monkeypatch.setattr(trash.rbd, "Image", Noting)
    put()
    trash.content(VMS)
    assert opened == [[]]


def test_an_empty_trash_holds_nothing(storage, images):
    assert trash.content(VMS) == ()


# Bringing back


def test_an_image_comes_back_under_the_name_that_is_asked_for(storage, images, put):
    kept = FakeImage(content=b"precious")
    image_id = put("old", kept)
    trash.restore(VMS, image_id, "new")
    assert images == {"new": kept}
    assert storage.trash["vms"] == {}


def test_an_image_whose_time_is_over_comes_back_as_long_as_it_is_there(images, put):
    trash.restore(VMS, put("old", removed=0, grace=0), "old")
    assert set(images) == {"old"}


def test_a_name_that_is_taken_is_told_and_both_images_stay(storage, images, put):
    images["web"] = present = FakeImage(3)
    image_id = put("web")
    err = failure(trash.restore, VMS, image_id, "web")
    assert err.errno == errno.EEXIST
    assert str(err) == "vms has an image web already; give another name (--name)"
    assert images == {"web": present}
    assert image_id in storage.trash["vms"]


def test_an_image_that_is_not_in_the_trash_does_not_come_back(images, put):
    put()
    err = failure(trash.restore, VMS, LOST, "web")
    assert err.errno == errno.ENOENT
    assert "the trash of vms has no image with the id dead;" in str(err)
    assert "'gnt-storage trash list'" in str(err)
    assert images == {}


# Deleting


@pytest.mark.parametrize("force", [True, False])
def test_images_whose_time_is_over_are_deleted(storage, put, force):
    gone = [put(removed=0, grace=5), put(grace=0)]
    stays = put(grace=0)
    assert trash.purge(VMS, iter(gone), force) == tuple(gone)
    assert list(storage.trash["vms"]) == [stays]


def test_one_whose_time_is_not_over_stays_and_is_not_told_as_deleted(storage, put):
    early, late, last = put(grace=1), put(grace=0), put(grace=0)
    assert trash.purge(VMS, [late, early, last], False) == (late, last)
    assert list(storage.trash["vms"]) == [early]
    storage.now += 1
    assert trash.purge(VMS, [early], False) == (early,)


def test_by_force_one_whose_time_is_not_over_is_deleted(storage, put):
    early = put(grace=10**6)
    assert trash.purge(VMS, [early], True) == (early,)
    assert storage.trash["vms"] == {}


def test_half_an_image_can_be_deleted(storage, images):
    storage.trash["vms"] = {"0a": FakeTrashed("half", None, 5, 6)}
    assert trash.purge(VMS, ["0a"], False) == ("0a",)


@pytest.mark.parametrize("force", [True, False])
def test_one_that_another_node_has_deleted_meanwhile_is_deleted(storage, put, force):
    ids = [put(grace=0), LOST, put(grace=0)]
    assert trash.purge(VMS, ids, force) == tuple(ids)
    assert storage.trash["vms"] == {}


def test_what_would_take_longer_than_the_job_waits_is_left(storage, put, monkeypatch):
    ids = [put(grace=0) for _ in range(3)]
    moments = iter([0, 10, trash._LONGEST, trash._LONGEST + 1])
    monkeypatch.setattr(trash.time, "monotonic", lambda: next(moments))
    assert trash.purge(VMS, ids, False) == tuple(ids[:2])
    assert list(storage.trash["vms"]) == ids[2:]


def test_only_images_of_the_place_are_deleted(storage, put):
    storage.images["vms/blue"] = {}
    outside = put(grace=0)
    trash.purge(BLUE, [outside], True)
    assert outside in storage.trash["vms"]


@pytest.mark.parametrize(
    "held",
    [{"snapshots": [FakeSnapshot("monday")]}, {"watchers": ["192.0.2.1:0/1"]}],
)
def test_an_image_that_is_held_stays_and_holds_up_no_other(storage, put, held):
    kept = FakeImage(9)
    vars(kept).update(held)
    image_id = put("web", kept, 0)
    free = put("other", FakeImage(9), 0)
    assert trash.purge(VMS, [image_id, free], True) == (free,)
    assert set(storage.trash["vms"]) == {image_id}


# All of them


every_function = pytest.mark.parametrize(
    ("function", "arguments", "call", "what"),
    [
        (trash.content, (), "trash_list", "list the trash of vms"),
        (trash.restore, ("0a", "web"), "trash_restore", "restore web in vms"),
        (trash.purge, (["0a"], True), "trash_remove", "purge the trash of vms"),
    ],
)


@every_function
def test_a_failure_says_what_could_not_be_done_and_where(
    storage, images, function, arguments, call, what
):
    storage.failures[call] = rbd.OSError("no", errno.EIO)
    err = failure(function, VMS, *arguments)
    assert str(err) == f"cannot {what}: Input/output error"


@every_function
def test_a_pool_that_is_missing_is_named(storage, function, arguments, call, what):
    assert "no pool lost" in str(failure(function, Place("lost"), *arguments))


@every_function
def test_the_user_and_the_configuration_are_the_place_s(
    storage, function, arguments, call, what
):
    storage.reachable = False
    failure(function, Place("vms", "", "joe", "/etc/far"), *arguments)
    assert storage.clients == [("/etc/far", "client.joe")]
