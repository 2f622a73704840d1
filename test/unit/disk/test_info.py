"""gnt-instance info: the access mode of a disk, and no block device where none is."""

import types

import pytest
from ganeti import constants
from ganeti.client import gnt_instance

from ganeti_ceph.disk import info

KVM = types.SimpleNamespace(hypervisor=constants.HT_KVM)
XEN = types.SimpleNamespace(hypervisor=constants.HT_XEN_PVM)


def status(guest, disk):
    """Return what the job tells of a disk beside Ganeti's own."""
    return info.add_access(
        lambda *_: {"mode": "rw"}, None, (guest, None, None, disk), {}
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("userspace", "userspace"),
        ("kernelspace", "kernelspace"),
        (None, "kernelspace"),
    ],
)
def test_the_access_mode_is_told(disk_of, given, told):
    assert status(KVM, disk_of(given)) == {"mode": "rw", "access": told}


def test_a_disk_without_access_modes_has_none(disk_of):
    assert status(KVM, disk_of(None, constants.DT_PLAIN)) == {"mode": "rw"}


def test_a_hypervisor_without_access_modes_has_none(disk):
    assert status(XEN, disk) == {"mode": "rw"}


def shown(**changes):
    """Return what gnt-instance prints of a disk, by name."""
    disk = {
        "iv_name": "disk/0",
        "size": 1024,
        "dev_type": "rbd",
        "spindles": None,
        "mode": "rw",
        "logical_id": ("rbd", "web.rbd.disk0"),
        "pstatus": (None, None, None, None, None, False, None),
        "sstatus": None,
        "name": None,
        "uuid": "u",
        "children": [],
        **changes,
    }
    stock = gnt_instance._FormatBlockDevInfo
    return info.show_access(stock, None, (0, True, disk, False), {})


def test_a_disk_in_userspace_access_has_no_block_device():
    lines = dict(shown(access="userspace"))
    assert lines["access"] == "userspace"
    assert lines["on primary"] == "no block device"


def test_the_block_device_of_a_disk_in_kernelspace_access_is_shown():
    status = ("/dev/rbd0", 250, 0, None, None, False, None)
    lines = dict(shown(access="kernelspace", pstatus=status))
    assert lines["access"] == "kernelspace"
    assert lines["on primary"] == "/dev/rbd0 (250:0)"


def test_the_access_mode_stands_beside_the_mode():
    names = [name for name, _ in shown(access="userspace")]
    assert names[names.index("access mode") + 1] == "access"


def test_a_disk_within_a_disk_shows_it_after_its_heading():
    disk = {"access": "kernelspace"}
    lines = info.show_access(
        lambda *_: [("child 0", "rbd"), ("name", "x")],
        None,
        (0, False, disk, False),
        {},
    )
    assert [name for name, _ in lines] == ["child 0", "access", "name"]


def test_a_disk_without_access_mode_is_shown_as_ever():
    stock = gnt_instance._FormatBlockDevInfo
    seen = []

    def noting(*arguments):
        seen.append(stock(*arguments))
        return seen[0]

    disk = {
        "iv_name": "disk/0",
        "size": 1024,
        "dev_type": "plain",
        "spindles": None,
        "mode": "rw",
        "logical_id": ("vg", "lv"),
        "pstatus": None,
        "sstatus": None,
        "name": None,
        "uuid": "u",
        "children": [],
    }
    assert info.show_access(noting, None, (0, True, disk, False), {}) is seen[0]
