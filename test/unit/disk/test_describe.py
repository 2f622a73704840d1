"""What images say of themselves: written at their making, and when it changes."""

import types

import pytest
import rbd
from fakes import FakeImage
from ganeti import backend, constants, ssconf
from ganeti.storage import bdev

from ganeti_ceph.disk import describe
from ganeti_ceph.disk.uri import Place

NAME = "web.rbd.disk0"
TOLD = {
    "ganeti.cluster": "cluster.example",
    "ganeti.instance": "web.example",
    "ganeti.disk": "0",
}


@pytest.fixture(autouse=True)
def cluster(monkeypatch):
    """The node's own knowledge of its cluster."""
    store = types.SimpleNamespace(GetClusterName=lambda: "cluster.example")
    monkeypatch.setattr(ssconf, "SimpleStore", lambda: store)


class Daemon:
    """The node daemon, which makes images and keeps texts."""

    def __init__(self, images):
        self.images = images
        self.called = []

    def create(self, disk):
        def stock(*args):
            self.called.append(args)
            self.images.setdefault(NAME, FakeImage(8))
            return "as Ganeti says"

        given = (disk, disk.size, "web.example", True, "originstname+web.example")
        return describe.create(stock, None, (*given, False), {})

    def set_info(self, disk, text="originstname+new.example"):
        def stock(*args):
            self.called.append(args)
            return "as Ganeti says"

        return describe.set_info(stock, None, (disk, text), {})


@pytest.fixture
def daemon(ganeti, images):
    return Daemon(images)


def test_a_new_image_tells_whose_disk_it_is(daemon, images, disk):
    assert daemon.create(disk) == "as Ganeti says"
    assert images[NAME].metadata == TOLD
    assert len(daemon.called) == 1


def test_making_and_describing_share_a_connection(ganeti, disk):
    def stock(disk, *rest):
        bdev.Create(disk, [], False)

    describe.create(stock, None, (disk, 8, "web.example", True, "text", False), {})
    assert ganeti.storage.images["vms"][NAME].metadata == TOLD
    assert ganeti.storage.connections == 1


@pytest.mark.parametrize("access", ["userspace", "kernelspace", None])
def test_whatever_its_access(daemon, images, disk_of, access):
    daemon.create(disk_of(access))
    assert images[NAME].metadata == TOLD


@pytest.mark.parametrize(
    "error",
    [rbd.PermissionError("no", 1), rbd.OSError("no", 5), rbd.Timeout("no", 110)],
)
def test_an_image_that_cannot_be_described_is_made_and_logged(
    daemon, images, ganeti, disk, error, caplog
):
    ganeti.storage.failures["metadata_set"] = error
    assert daemon.create(disk) == "as Ganeti says"
    assert images[NAME].metadata == {}
    assert "cannot describe an image: cannot describe the image vms/" in caplog.text


def test_an_image_that_could_not_be_made_is_not_described(daemon, images, disk):
    def stock(*args):
        raise backend.RPCFail("Can't create block device")

    images[NAME] = FakeImage(8)
    with pytest.raises(backend.RPCFail, match="Can't create"):
        describe.create(stock, None, (disk, 8, "web", True, "text", False), {})
    assert images[NAME].metadata == {}


def test_what_has_not_changed_is_not_written_again(daemon, images, disk):
    daemon.create(disk)
    daemon.set_info(disk, "originstname+web.example")
    assert images[NAME].described == list(TOLD)
    daemon.set_info(disk)
    assert images[NAME].described == [*TOLD, "ganeti.instance"]


def test_a_renamed_instance_and_a_renumbered_disk_are_written(daemon, images, disk):
    daemon.create(disk)
    disk.iv_name = "disk/12"
    assert daemon.set_info(disk) is None
    assert images[NAME].metadata == {
        **TOLD,
        "ganeti.instance": "new.example",
        "ganeti.disk": "12",
    }
    assert len(daemon.called) == 1, "Ganeti has nowhere to keep it"


def test_what_others_wrote_stays(daemon, images, disk):
    images[NAME] = FakeImage(8)
    images[NAME].metadata = {"conf_rbd_cache": "false"}
    daemon.set_info(disk)
    assert images[NAME].metadata["conf_rbd_cache"] == "false"


def test_a_failure_to_write_is_the_call_s(daemon, disk):
    with pytest.raises(backend.RPCFail, match="cannot describe the image vms/"):
        daemon.set_info(disk)


def test_an_image_in_use_can_be_described(daemon, images, disk):
    images[NAME] = FakeImage(8)
    images[NAME].watchers = ["192.0.2.1:0/1"]
    daemon.set_info(disk)
    assert images[NAME].metadata["ganeti.instance"] == "new.example"
    assert images[NAME].watchers == ["192.0.2.1:0/1"]


@pytest.mark.parametrize("template", [constants.DT_PLAIN, constants.DT_GLUSTER])
def test_disks_of_other_templates_are_ganeti_s_affair(
    daemon, ganeti, disk_of, template
):
    disk = disk_of(None, template)
    assert daemon.create(disk) == daemon.set_info(disk) == "as Ganeti says"
    assert len(daemon.called) == 2
    assert ganeti.storage.connections == 0


# A new name of the cluster


@pytest.fixture
def rename(ganeti):
    def rename():
        place = Place("vms", user="ganeti")
        return describe.rename_cluster(place, "cluster.example", "neu.example")

    return rename


def described(**metadata):
    """Return an image with this metadata, whose names begin with ``ganeti.``."""
    one = FakeImage(8)
    one.metadata = {f"ganeti.{name}": value for name, value in metadata.items()}
    return one


def test_all_images_of_the_cluster_tell_its_new_name(images, rename):
    images["used"] = described(cluster="cluster.example", instance="web", disk="0")
    images["left-over"] = described(cluster="cluster.example")
    assert rename() == []
    assert images["used"].metadata == {
        "ganeti.cluster": "neu.example",
        "ganeti.instance": "web",
        "ganeti.disk": "0",
    }
    assert images["left-over"].metadata == {"ganeti.cluster": "neu.example"}


def test_nobody_else_s_image_is_written_to(images, rename):
    images["foreign"] = described(cluster="other.example")
    images["by-hand"] = described()
    assert rename() == []
    assert images["foreign"].described == images["by-hand"].described == []


def test_an_image_that_cannot_be_opened_hinders_no_other(images, rename):
    images["bad"] = described(cluster="cluster.example")
    images["bad"].broken = rbd.PermissionError("no", 1)
    images["good"] = described(cluster="cluster.example")
    (error,) = rename()
    assert "vms/bad cannot be opened: Operation not permitted" in str(error)
    assert images["good"].metadata["ganeti.cluster"] == "neu.example"
