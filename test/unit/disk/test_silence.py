"""A storage cluster that did not answer just now is not waited for so long again."""

import contextlib
import errno
from pathlib import Path

import pytest
import rbd
from fakes import FakeClock, FakeImage

from ganeti_ceph import ceph
from ganeti_ceph.disk import image, silence, space
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError

WEB0 = Volume("vms", "web0")


@pytest.fixture
def tried(storage, images, monkeypatch):
    """How long clients waited for a cluster with an image, in seconds."""
    images["web0"] = FakeImage(5)
    tried, real = [], ceph.connect

    def connect(conf, client, timeout):
        tried.append(timeout)
        return real(conf, client, timeout)

    monkeypatch.setattr(ceph, "connect", connect)
    return tried


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(silence.time, "monotonic", clock.monotonic)
    return clock


def failure(volume=WEB0):
    with pytest.raises(CephError, match="cannot connect to the storage") as caught:
        image.size(volume)
    return caught.value


def test_the_next_one_fails_soon_in_the_same_words(tried, storage, clock):
    storage.reachable = False
    first, second = failure(), failure()
    assert tried == [ceph.TIMEOUT, 1]
    assert str(second).startswith(str(first))
    assert second.errno == first.errno


def test_many_at_a_time_wait_once(tried, storage, clock):
    storage.reachable = False
    with image.together():
        failure()
        failure()
        third = failure()
    assert tried == [ceph.TIMEOUT, 1, 1]
    assert str(third).count("that was just now") == 1


def test_one_that_is_back_is_used_at_once(tried, storage, clock):
    storage.reachable = False
    failure()
    storage.reachable = True
    assert image.size(WEB0) == 5
    # The short wait is for the connection alone.
    assert tried == [ceph.TIMEOUT, 1, ceph.TIMEOUT]


def test_a_little_later_it_is_asked_again(tried, storage, clock):
    storage.reachable = False
    failure()
    clock.sleep(6)
    failure()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


def test_a_long_operation_does_not_wait_again_but_for_good_it_is_not_told(
    tried, storage, clock
):
    storage.reachable = False
    failure()
    for _ in range(7):
        clock.sleep(4)
        failure()
    assert tried == [ceph.TIMEOUT, *[1] * 7]
    clock.sleep(4)
    failure()
    assert tried[8:] == [ceph.TIMEOUT]


def test_a_note_of_before_a_reboot_does_not_count(tried, storage, clock):
    clock.sleep(1000)
    storage.reachable = False
    failure()
    clock.now = 3
    failure()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


@pytest.mark.parametrize("other", [{"user": "joe"}, {"conf": "/etc/far"}])
def test_other_users_and_clusters_are_asked(tried, storage, clock, other):
    storage.reachable = False
    failure()
    failure(Volume("vms", "web0", **other))
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


def test_after_one_with_less_time_than_usual_the_next_has_the_rest(
    tried, storage, clock
):
    storage.reachable = False
    with image.together(10):
        failure()
    clock.sleep(2)
    failure()
    assert tried == [10, ceph.TIMEOUT - 12]


def test_who_asks_for_the_pools_room_waits_for_the_disk_too(tried, storage, clock):
    storage.reachable = False
    with pytest.raises(CephError):
        space.ask(DiskOptions(), "vms")
    failure(Volume("vms", "web0", user=DiskOptions().user))
    assert tried == [space.TIMEOUT, ceph.TIMEOUT - space.TIMEOUT]


def test_nobody_has_more_time_for_what_others_left(tried, storage, clock):
    storage.reachable = False
    with image.together(5):
        failure()
    with image.together(5):
        failure()
    assert tried == [5, 5]


def test_one_that_answers_is_silent_no_more(tried, storage, clock):
    storage.reachable = False
    failure()
    storage.reachable = True
    image.size(WEB0)
    storage.reachable = False
    failure()
    assert tried == [ceph.TIMEOUT, 1, ceph.TIMEOUT, ceph.TIMEOUT]


def test_an_answer_that_is_no_is_no_silence(tried, storage, clock):
    storage.images.clear()
    for _ in range(2):
        with pytest.raises(CephError, match="no pool vms"):
            image.size(WEB0)
    assert len(tried) == 2


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '["a", "b", "c"]', "7"])
def test_a_note_that_is_not_whole_does_not_count(tried, storage, clock, text):
    storage.reachable = False
    failure()
    (note,) = silence.ROOT.iterdir()
    note.write_text(text)
    failure()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


def test_where_no_note_can_be_left_each_one_waits(tried, storage, clock, monkeypatch):
    monkeypatch.setattr(silence, "ROOT", Path("/proc/nowhere/silent"))
    storage.reachable = False
    with contextlib.suppress(CephError):
        image.size(WEB0)
    failure()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


# OSDs


@pytest.fixture
def silent_osds(tried, storage, clock):
    """The mons answer and the OSDs do not, until this is called."""
    storage.failures["open"] = rbd.Timeout("no", errno.ETIMEDOUT)
    storage.failures["list"] = rbd.Timeout("no", errno.ETIMEDOUT)

    def end():
        storage.failures.clear()

    return end


def osds_fail(look=lambda: image.size(WEB0)):
    with pytest.raises(CephError) as caught:
        look()
    assert caught.value.errno == errno.ETIMEDOUT
    return str(caught.value)


def test_silent_osds_are_waited_for_once(tried, silent_osds):
    first, second = osds_fail(), osds_fail(lambda: image.size(Volume("vms", "web1")))
    # First for the mons, then for the OSDs.
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT, 1]
    reason = "no answer from the OSDs within 20 s; look at 'ceph -s'"
    assert first == f"cannot open the image vms/web0: {reason}"
    assert second == (
        f"cannot open the image vms/web1: {reason}; that was just now, so it was not"
        " waited for so long again"
    )


def test_many_questions_over_one_connection_wait_for_silent_osds_once(
    tried, silent_osds
):
    with image.together():
        osds_fail()
        osds_fail()
        third = osds_fail()
    assert tried == [ceph.TIMEOUT, 1, 1]
    assert third.count("that was just now") == 1


def test_a_listing_of_a_pool_with_silent_osds_does_not_wait_again(tried, silent_osds):
    osds_fail()
    said = osds_fail(lambda: image.ids(WEB0.place))
    assert said.startswith("cannot list the images in vms: no answer from the OSDs")
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT, 1]


def test_osds_that_are_back_have_all_their_time(tried, silent_osds):
    osds_fail()
    silent_osds()
    assert image.size(WEB0) == 5
    # The short wait is for the look alone.
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT, 1]


def test_an_image_with_other_osds_does_not_make_the_next_one_wait_again(
    tried, silent_osds, storage, images
):
    silent_osds()
    images["far"] = FakeImage(7)
    images["web0"].broken = rbd.Timeout("no", errno.ETIMEDOUT)
    osds_fail()
    assert image.size(Volume("vms", "far")) == 7
    osds_fail()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT, 1, ceph.TIMEOUT, 1]


@pytest.mark.parametrize("missing", ["image", "pool"])
def test_what_is_missing_is_an_answer_of_the_osds(tried, silent_osds, storage, missing):
    osds_fail()
    silent_osds()
    if missing == "image":
        del storage.images["vms"]["web0"]
        assert image.size(WEB0) is None
    else:
        storage.images.clear()
        with pytest.raises(CephError, match="no pool vms"):
            image.size(WEB0)


def test_a_little_later_the_osds_are_asked_again(tried, silent_osds, clock):
    osds_fail()
    clock.sleep(6)
    osds_fail()
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


def test_other_pools_are_asked_for_as_long_as_usual(tried, silent_osds, storage):
    storage.images["hdd"] = {}
    osds_fail()
    osds_fail(lambda: image.size(Volume("hdd", "db")))
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]


def test_another_failure_is_no_silence_of_the_osds(tried, storage, images):
    images["web0"].broken = rbd.PermissionError("no", errno.EPERM)
    for _ in range(2):
        with pytest.raises(CephError, match="may not do that"):
            image.size(WEB0)
    assert tried == [ceph.TIMEOUT, ceph.TIMEOUT]
