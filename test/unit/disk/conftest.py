"""Disks for tests: images of a fake cluster, and no program that could be run."""

import subprocess
import types

import fakes
import pytest
from ganeti import constants, objects
from ganeti.storage import bdev

from ganeti_ceph import ceph
from ganeti_ceph.disk import device, image, mappers

MIB = 2**20


@pytest.fixture
def storage(monkeypatch):
    """A storage cluster with an empty pool."""
    storage = fakes.FakeCeph()
    storage.images["vms"] = {}
    monkeypatch.setattr(ceph.rados, "Rados", storage.rados)
    monkeypatch.setattr(image.rbd, "RBD", fakes.FakeRbd)
    monkeypatch.setattr(image.rbd, "Image", fakes.FakeOpenImage)
    return storage


@pytest.fixture
def images(storage):
    """The images of the pool by name."""
    return storage.images["vms"]


@pytest.fixture
def disk_of():
    """Make a disk of Ganeti's, whose image is ``web.rbd.disk0`` in the pool vms."""

    def disk_of(access="userspace", dev_type=constants.DT_RBD, size=8, **params):
        return objects.Disk(
            dev_type=dev_type,
            logical_id=("rbd", "web.rbd.disk0"),
            size=size,
            iv_name="disk/0",
            params={"pool": "vms", **({"access": access} if access else {}), **params},
            dynamic_params={},
            children=[],
        )

    return disk_of


@pytest.fixture
def disk(disk_of):
    """A disk of 8 MiB in userspace access."""
    return disk_of()


@pytest.fixture
def ganeti(monkeypatch, storage):
    """Ganeti's node daemon with our device among its own."""
    fake = fakes.FakeMappers()
    fake.replace(mappers, monkeypatch.setattr)
    devices = dict(bdev.DEV_MAP)
    device.extend_dev_map(devices)
    monkeypatch.setattr(bdev, "DEV_MAP", devices)

    def run_nothing(command, *_, **__):
        raise AssertionError(f"{command} was run")

    monkeypatch.setattr(subprocess, "Popen", run_nothing)
    return types.SimpleNamespace(storage=storage, mappers=fake)
