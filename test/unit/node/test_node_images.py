"""An instance's images on its node: looked at, mapped, and those in the trash."""

import dataclasses
import errno
import json

import fakes
import pytest
from fakes import FakeImage, FakeSnapshot, FakeTrashed
from ganeti import errors
from ganeti.hypervisor import hv_kvm
from monitors import New, Old, Qemu

from ganeti_ceph.disk import image, mappers
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import images
from ganeti_ceph.rpc import (
    CloneImages,
    LookAtDisks,
    LookInTrash,
    MapImages,
    ReleaseImages,
    RenameImages,
    Told,
)

WEB0, WEB1 = Volume("vms", "web0"), Volume("vms", "web1")
ASKED = LookAtDisks("web", (("uuid-0", WEB0), ("uuid-1", WEB1)))


class Kvm:
    """Ganeti's KVM hypervisor, and what it keeps with a running instance."""

    def __init__(self):
        self.alive = False
        #: (disk's UUID, URI) of each disk that QEMU was started with.
        self.disks = []
        #: What takes the place of that.
        self.text = None

    def __call__(self):
        return self

    def _InstancePidAlive(self, name):
        assert name == "web"
        return ("/run/pid", 4711 if self.alive else 0, self.alive)

    def _ReadKVMRuntime(self, name):
        assert name == "web"
        if isinstance(self.text, Exception):
            raise self.text
        if self.text is not None:
            return self.text
        disks = [
            ({"uuid": uuid, "hvinfo": {"id": f"disk-{uuid}"}}, "/link", uri)
            for uuid, uri in self.disks
        ]
        return json.dumps([["qemu"], [], {}, disks])


@pytest.fixture
def kvm(monkeypatch):
    kvm = Kvm()
    monkeypatch.setattr(hv_kvm, "KVMHypervisor", kvm)
    return kvm


@pytest.fixture
def there(storage, monkeypatch):
    """The images of an instance's disks."""
    monkeypatch.setattr(image.rbd, "RBD", fakes.FakeRbd)
    monkeypatch.setattr(image.rbd, "Image", fakes.FakeOpenImage)
    storage.images["vms"] = {"web0": FakeImage(5), "web1": FakeImage(7)}
    return storage.images["vms"]


@pytest.fixture
def mapped(monkeypatch):
    """What maps images on the node."""
    mapped = fakes.FakeMappers()
    mapped.replace(mappers, monkeypatch.setattr)
    return mapped


# Looking


def test_each_disk_is_told_in_the_order_of_asking(kvm, there, mapped):
    mapped.devices[WEB1] = "/dev/zero"
    first, second = images.look(ASKED).disks
    assert (first.image.size, second.image.size) == (5, 7)
    assert (first.device, second.device) == (None, "/dev/zero")
    assert (first.error, second.error) == (None, None)


def test_all_disks_are_looked_at_over_one_connection(kvm, there, mapped, storage):
    images.look(ASKED)
    assert storage.connections == 1


def test_no_image_is_no_failure(kvm, there, mapped):
    del there["web0"]
    first, second = images.look(ASKED).disks
    assert (first.image, first.error) == (None, None)
    assert second.image.size == 7


def test_one_image_that_fails_hides_no_other(kvm, there, mapped):
    asked = LookAtDisks("web", (("a", Volume("lost", "x")), ("b", WEB0)))
    first, second = images.look(asked).disks
    assert first.image is None
    assert "no pool lost" in first.error
    assert second.image.size == 5


@pytest.fixture
def silent(monkeypatch):
    """Let places be silent; return which images were waited for."""
    waited = []

    def look(volume):
        waited.append(volume.image)
        raise CephError(f"no answer about {volume}", errno.ETIMEDOUT)

    monkeypatch.setattr(images.image, "look", look)
    return waited


def test_a_silent_cluster_is_waited_for_once_for_all_disks(kvm, mapped, silent):
    mapped.devices[WEB1] = "/dev/zero"
    asked = LookAtDisks("web", (*ASKED.disks, ("c", Volume("ssd", "web2"))))
    found = images.look(asked).disks
    assert len(silent) == 1
    assert all("no answer about" in one.error for one in found)
    assert [one.device for one in found] == [None, "/dev/zero", None]


def test_each_client_waits_for_its_own_cluster(kvm, mapped, silent):
    far = Volume("vms", "web1", conf="/etc/far")
    images.look(LookAtDisks("web", (("a", WEB0), ("b", far))))
    assert sorted(silent) == ["web0", "web1"]


def test_a_device_is_told_even_while_the_cluster_is_silent(kvm, there, mapped, storage):
    storage.reachable = False
    mapped.devices[WEB0] = "/dev/null"
    first, _ = images.look(ASKED).disks
    assert first.device == "/dev/null"
    assert "cannot connect" in first.error


def test_ceph_is_not_asked_where_nobody_asks_for_the_images(
    kvm, there, mapped, storage
):
    mapped.devices[WEB0] = "/dev/null"
    kvm.alive, kvm.disks = True, [("uuid-0", None)]
    first, second = images.look(dataclasses.replace(ASKED, images=False)).disks
    assert (first.image, first.error, first.device) == (None, None, "/dev/null")
    assert (first.userspace, second.userspace) == (False, None)
    assert storage.connections == 0


def test_an_instance_that_does_not_run_has_no_access(kvm, there, mapped):
    kvm.disks = [("uuid-0", "rbd:vms/web0")]
    assert {one.userspace for one in images.look(ASKED).disks} == {None}


def test_who_opened_each_disk_of_a_running_instance_is_told(kvm, there, mapped):
    kvm.alive = True
    kvm.disks = [("uuid-1", None), ("uuid-0", "rbd:vms/web0")]
    assert [one.userspace for one in images.look(ASKED).disks] == [True, False]


def test_a_disk_that_qemu_was_not_started_with_has_no_access(kvm, there, mapped):
    kvm.alive = True
    kvm.disks = [("uuid-0", None)]
    assert [one.userspace for one in images.look(ASKED).disks] == [False, None]


@pytest.mark.parametrize(
    "text",
    [
        errors.HypervisorError("Failed to load KVM runtime file"),
        "",
        "[]",
        "3",
        '[["qemu"], [], {}, [[{}, "/link", null]]]',
        '[["qemu"], [], {}, [[{"uuid": "uuid-0"}, "/link"]]]',
        '[["qemu"], [], {}, [[{"uuid": "uuid-0"}, "/link", null]]]',
    ],
)
def test_what_ganeti_keeps_and_we_cannot_read_is_no_failure(kvm, there, mapped, text):
    kvm.alive, kvm.text = True, text
    assert [one.userspace for one in images.look(ASKED).disks] == [None, None]


# Cloning


@pytest.fixture
def snapshots(kvm, there, monkeypatch):
    """Have QEMU make snapshots; return what it was asked for."""
    asked = []

    def make(command, arguments):
        assert command == "transaction"
        for action in arguments["actions"]:
            assert action["type"] == "blockdev-snapshot-internal-sync"
            data = action["data"]
            asked.append((data["device"], data["name"]))
            of = there[data["device"].replace("disk-uuid-", "web")]
            of.snapshots.append(FakeSnapshot(data["name"], content=bytes(of.data)))
        return {}

    qemu = Qemu()
    monkeypatch.setattr(qemu, "answer", make)
    kvm.qmp = New(qemu)
    return asked


def test_images_get_new_names(there):
    web0, web1 = there["web0"], there["web1"]
    images.rename(RenameImages(((WEB0, "a"), (WEB1, "b"))))
    assert there == {"a": web0, "b": web1}


@pytest.mark.parametrize("second", ["web1", "a", "gone"])
def test_if_one_cannot_be_renamed_none_is(there, second):
    before = dict(there)
    if second == "web1":
        there["web1"].watchers = ["192.0.2.1:0/7"]
    wanted = ((WEB0, "a"), (Volume("vms", second), "b" if second != "a" else "web1"))
    with pytest.raises(CephError):
        images.rename(RenameImages(wanted))
    assert there == before


BOTH = CloneImages("web", (("uuid-0", WEB0, "a"), ("uuid-1", WEB1, "b")))
OPENED = [("uuid-0", "rbd:vms/web0"), ("uuid-1", "rbd:vms/web1")]


def test_qemu_makes_snapshots_of_all_disks_at_one_moment(kvm, there, snapshots):
    kvm.alive, kvm.disks = True, OPENED
    assert images.clone(BOTH) == Told(())
    assert snapshots == [("disk-uuid-0", "a"), ("disk-uuid-1", "b")]
    assert set(there) == {"web0", "web1", "a", "b"}
    assert image.look(WEB0).snapshots == image.look(WEB1).snapshots == ()


def test_what_qemu_refuses_is_an_error_and_nothing_is_made(kvm, there, monkeypatch):
    kvm.alive, kvm.disks = True, OPENED
    qemu = Qemu()

    def refuse(command, arguments):
        raise errors.HypervisorError("not supported")

    monkeypatch.setattr(qemu, "answer", refuse)
    kvm.qmp = Old(qemu)
    with pytest.raises(ExecError, match="QEMU: not supported"):
        images.clone(BOTH)
    assert set(there) == {"web0", "web1"}


def test_one_disk_has_one_moment_anyway(kvm, there, snapshots):
    kvm.alive, kvm.disks = True, OPENED
    assert images.clone(CloneImages("web", BOTH.images[:1])) == Told(())
    assert snapshots == []
    assert "a" in there


def test_nobody_writes_to_an_instance_that_does_not_run(kvm, there, snapshots):
    kvm.disks = OPENED
    assert images.clone(BOTH) == Told(())
    assert snapshots == []
    assert {"a", "b"} <= set(there)


@pytest.mark.parametrize(
    "disks", [[("uuid-0", None), OPENED[1]], OPENED[1:], [("uuid-0", None)]]
)
def test_disks_that_qemu_has_not_opened_are_of_almost_one_moment(
    kvm, there, snapshots, disks
):
    kvm.alive, kvm.disks = True, disks
    (told,) = images.clone(BOTH).errors
    assert "one right after the other" in told
    assert snapshots == []
    assert {"a", "b"} <= set(there)


# Mapping


def test_images_are_mapped_in_the_order_of_asking(there, mapped, storage):
    there["web1"].features = 1
    asked = MapImages(((WEB1, Mapper.FUSE), (WEB0, Mapper.AUTO)))
    assert images.map_all(asked).paths == ("/dev/null", "/dev/zero")
    assert mapped.devices == {WEB1: "/dev/null", WEB0: "/dev/zero"}
    (_, mapper, features), (_, other, _) = mapped.asked
    assert (mapper, features, other) == (Mapper.FUSE, ("layering",), Mapper.AUTO)
    assert storage.connections == 1


def test_what_is_mapped_already_is_no_failure(there, mapped):
    mapped.devices[WEB0] = "/dev/full"
    assert images.map_all(MapImages(((WEB0, Mapper.AUTO),))).paths == ("/dev/full",)


def test_an_image_that_is_open_is_not_mapped(there, mapped):
    there["web0"].watchers.append("192.0.2.7:0/1")
    with pytest.raises(ExecError, match=r"in use at 192\.0\.2\.7"):
        images.map_all(MapImages(((WEB0, Mapper.AUTO),)))
    assert mapped.devices == {}


def test_what_was_made_stays_if_another_fails(there, mapped):
    del there["web1"]
    asked = MapImages(((WEB0, Mapper.AUTO), (WEB1, Mapper.AUTO)))
    with pytest.raises(CephError, match="vms/web1"):
        images.map_all(asked)
    assert mapped.devices == {WEB0: "/dev/null"}


def test_a_mapper_that_fails_says_why(there, mapped):
    mapped.failing = "no mapper works on this node"
    with pytest.raises(ExecError, match="no mapper works on this node"):
        images.map_all(MapImages(((WEB0, Mapper.AUTO),)))


# The trash


def trashed(storage, place, name):
    """Put an image into the trash of a place."""
    one = FakeTrashed(name, FakeImage(9), storage.now, storage.now)
    storage.trash.setdefault(place, {})[one.image.id] = one
    return one


def test_the_trash_of_all_places_is_told(there, storage):
    storage.images["ssd"] = {}
    trashed(storage, "vms", "a")
    trashed(storage, "ssd", "b")
    found = images.in_trash(LookInTrash((Place("ssd"), Place("vms"))))
    assert sorted((str(one.place), one.name) for one in found.images) == [
        ("ssd", "b"),
        ("vms", "a"),
    ]
    assert found.errors == ()


def test_a_place_that_cannot_be_seen_is_named_and_hides_no_other(there, storage):
    trashed(storage, "vms", "a")
    found = images.in_trash(LookInTrash((Place("lost"), Place("vms"))))
    assert [one.name for one in found.images] == ["a"]
    (error,) = found.errors
    assert error.startswith("lost: the storage cluster has no pool lost;")


def test_nowhere_is_nothing_in_the_trash(storage):
    assert images.in_trash(LookInTrash(())) == images.Trash((), (), True)


OURS = Place("vms", user="ganeti")


def test_pools_without_a_disk_that_our_user_may_use_are_looked_into(there, storage):
    storage.images.update({"hdd": {}, "hdd/blue": {}, "theirs": {}})
    storage.forbidden = {"theirs"}
    for place in ("vms", "hdd", "hdd/blue", "theirs"):
        trashed(storage, place, f"was in {place}")
    found = images.in_trash(LookInTrash((OURS,)))
    assert sorted(one.name for one in found.images) == [
        "was in hdd",
        "was in hdd/blue",
        "was in vms",
    ]
    assert {one.place.user for one in found.images} == {"ganeti"}
    assert (found.errors, found.blind) == ((), False)
    assert storage.connections <= 3


def test_also_where_the_pool_that_was_asked_for_is_gone(there, storage):
    trashed(storage, "vms", "a")
    found = images.in_trash(LookInTrash((Place("lost", user="ganeti"),)))
    assert [one.name for one in found.images] == ["a"]
    assert len(found.errors) == 1


@pytest.mark.parametrize(
    "place", [Place("vms"), Place("vms", user="ganeti", conf="/etc/far")]
)
def test_other_pools_of_other_users_and_storage_clusters_are_not(there, storage, place):
    storage.images["ssd"] = {}
    trashed(storage, "ssd", "a")
    assert images.in_trash(LookInTrash((place,))).images == ()


def test_a_silent_cluster_is_asked_for_no_other_pools(there, storage, monkeypatch):
    storage.reachable = False
    monkeypatch.setattr(image, "beside", None)
    found = images.in_trash(LookInTrash((OURS,)))
    assert len(found.errors) == 1
    assert found.blind


# Before they are removed

RELEASE = ReleaseImages((WEB0, WEB1), False)
RUNNING = ReleaseImages((WEB0, WEB1), True)


def test_images_that_nothing_holds_are_unmapped_and_stay(there, mapped):
    mapped.devices[WEB1] = "/dev/zero"
    assert images.release(RELEASE) == Told(())
    assert mapped.devices == {}
    assert set(there) == {"web0", "web1"}


def test_what_holds_images_for_good_is_told_at_once(there, mapped, clock):
    began = clock.now
    there["web0"].watchers = ["192.0.2.1:0/7"]
    there["web1"].snapshots = [fakes.FakeSnapshot("monday")]
    first, second = images.release(RELEASE).errors
    assert "vms/web0 is in use at 192.0.2.1" in first
    assert "vms/web1 has the snapshots monday" in second
    assert clock.now == began


def test_an_image_in_use_is_waited_for(there, mapped, clock):
    there["web1"].watchers = ["192.0.2.1:0/7"]
    clock.after(20, there["web1"].watchers.clear)
    assert images.release(RELEASE) == Told(())


def test_one_that_stays_in_use_is_told_in_the_end(there, mapped, clock):
    began = clock.now
    there["web1"].watchers = ["192.0.2.1:0/7"]
    (error,) = images.release(RELEASE).errors
    assert "vms/web1 is in use at 192.0.2.1" in error
    assert 30 <= clock.now - began <= 32


def test_a_device_in_use_is_told_in_the_end(there, mapped, clock):
    mapped.failing = "/dev/null is mounted on /mnt"
    assert images.release(RELEASE).errors == (mapped.failing, mapped.failing)


def test_a_running_instance_has_its_images_open_and_they_stay_mapped(there, mapped):
    mapped.devices[WEB1] = "/dev/zero"
    there["web0"].watchers = ["192.0.2.1:0/7", "192.0.2.1:0/8"]
    assert images.release(RUNNING) == Told(())
    assert mapped.devices == {WEB1: "/dev/zero"}


def test_what_else_holds_the_images_of_a_running_instance_is_told(there, mapped, clock):
    there["web0"].snapshots = [fakes.FakeSnapshot("monday")]
    there["web1"].watchers = ["192.0.2.1:0/7", "192.0.2.2:0/8"]
    first, second = images.release(RUNNING).errors
    assert "vms/web0 has the snapshots monday" in first
    assert "vms/web1 is in use at 192.0.2.1, 192.0.2.2, while its instance" in second


def test_an_image_that_is_gone_already_holds_nothing_up(there, mapped):
    del there["web0"]
    assert images.release(RELEASE) == Told(())


def test_a_silent_cluster_is_waited_for_once(there, mapped, storage):
    storage.reachable = False
    (error,) = images.release(RELEASE).errors
    assert "cannot connect" in error
