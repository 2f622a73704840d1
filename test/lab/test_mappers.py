"""Block devices of images, made by the mapper that works on any kernel.

The tests of this file build on each other, in their order: one image is mapped,
written to, grown, and loses what serves it.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import TestLab
from guests import hold

NODE = "node2"
IMAGE = "mapped.rbd.disk0"
STATE = f"/run/ganeti-ceph/map/rbd%2F{IMAGE}"
SIZE = 2**30

_BEGIN = f"""
import json, sys
from ganeti_ceph.disk import image, mappers
from ganeti_ceph.disk.options import DiskOptions, Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import Error
volume = Volume("rbd", {IMAGE!r})
def answer():
"""
_END = """
try:
    print(json.dumps(answer()))
except Error as err:
    sys.exit(str(err))
"""

#: What maps the image, whichever mapper there is.
MAP = 'mappers.map(volume, Mapper.AUTO, ("layering",))'


class Mapping:
    """The image, and a node to map it on."""

    def __init__(self, lab: TestLab) -> None:
        self.lab = lab

    def program(self, expression: str) -> list[str]:
        code = f"{_BEGIN}    return {expression}\n{_END}"
        return ["/usr/bin/python3", "-c", code]

    def call(self, expression: str) -> Any:
        """Return what an expression with the mappers gives in the node."""
        return json.loads(self.lab.run(NODE, self.program(expression)).stdout)

    def refused(self, expression: str) -> str:
        """Return what it says when it fails."""
        done = self.lab.run(NODE, self.program(expression), check=False)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr.strip()

    def sh(self, line: str) -> str:
        return self.lab.run(NODE, line).stdout.strip()

    def left(self) -> str:
        """Return what the node has of the image: processes, mounts, loop devices."""
        state = shlex.quote(STATE)
        return self.sh(
            f"pgrep -a qemu-storage; ls -d {state} {state}.lock;"
            f" grep -F {state} /proc/mounts; grep -Fls {state}"
            " /sys/block/loop*/loop/backing_file; ls /run/ganeti-ceph/map/*.qmp; true"
        )


@pytest.fixture(scope="module")
def mapping(lab: TestLab) -> Iterator[Mapping]:
    """A new image of 1 GiB."""
    mapping = Mapping(lab)
    mapping.call(f"image.create(volume, {SIZE}, DiskOptions())")
    yield mapping
    lab.run(NODE, "umount /mnt", check=False)
    mapping.call("mappers.unmap(volume)")
    mapping.call("image.remove(volume)")


@pytest.fixture(scope="module")
def device(mapping: Mapping) -> str:
    """The block device of the image."""
    return str(mapping.call(MAP))


def test_a_mapped_image_holds_a_file_system(mapping: Mapping, device: str) -> None:
    assert mapping.sh(f"blockdev --getsize64 {device}") == str(SIZE)
    mapping.sh(f"mkfs.ext4 -q {device} && mount {device} /mnt && echo kept > /mnt/it")


def test_it_is_found_and_mapped_only_once(mapping: Mapping, device: str) -> None:
    assert mapping.call("mappers.find(volume)") == device
    assert mapping.call("mappers.mapped()") == {f"rbd/{IMAGE}": device}
    assert mapping.call(MAP) == device


def test_a_mounted_device_is_not_unmapped(mapping: Mapping, device: str) -> None:
    said = mapping.refused("mappers.unmap(volume)")
    assert said == (
        f"cannot unmap the image rbd/{IMAGE}: {device} is in use: mounted on /mnt"
    )
    mapping.sh("umount /mnt")


def test_an_opened_device_is_not_unmapped(mapping: Mapping, device: str) -> None:
    opened = f"(answer_to := open({device!r})) and mappers.unmap(volume)"
    assert f"{device} is in use: opened by python3 (process " in mapping.refused(opened)


def test_no_key_is_on_a_command_line(mapping: Mapping, device: str) -> None:
    line = mapping.sh(f"tr '\\0' ' ' < /proc/$(cat '{STATE}/pid')/cmdline")
    key = mapping.sh("ceph-authtool -p /etc/ceph/ceph.client.admin.keyring")
    assert line.startswith("qemu-storage-daemon ")
    assert key not in line


def test_after_unmapping_nothing_is_left(mapping: Mapping, device: str) -> None:
    mapping.call("mappers.unmap(volume)")
    assert mapping.left() == ""
    assert mapping.call("mappers.find(volume)") is None
    mapping.call("mappers.unmap(volume)")


def test_mapped_again_it_has_what_was_written(mapping: Mapping) -> None:
    device = mapping.call(MAP)
    assert mapping.sh(f"mount {device} /mnt && cat /mnt/it && umount /mnt") == "kept"


def test_what_is_discarded_gives_its_room_back(mapping: Mapping) -> None:
    device = mapping.call("mappers.find(volume)")
    used = f"rbd du rbd/{IMAGE} --format json"
    mapping.sh(f"dd if=/dev/urandom of={device} bs=4M count=8 seek=64 conv=fsync")
    before = json.loads(mapping.sh(used))["images"][0]["used_size"]
    mapping.sh(f"blkdiscard --force --offset 256M --length 32M {device}")
    after = json.loads(mapping.sh(used))["images"][0]["used_size"]
    assert before - after == 32 * 2**20


def test_a_grown_image_is_shown(mapping: Mapping) -> None:
    device = mapping.call("mappers.find(volume)")
    mapping.call(f"image.grow(volume, {2 * SIZE})")
    mapping.call(f"mappers.resized(volume, {2 * SIZE})")
    assert mapping.sh(f"blockdev --getsize64 {device}") == str(2 * SIZE)
    grown = f"e2fsck -fp {device} && resize2fs {device} && e2fsck -fn {device}"
    mapping.sh(f"{{ {grown}; }} >&2")


def test_a_killed_daemon_is_replaced(mapping: Mapping) -> None:
    device = mapping.call("mappers.find(volume)")
    mapping.sh(f"kill -9 $(cat '{STATE}/pid'); sleep 0.2")
    assert mapping.call("mappers.find(volume)") is None
    opened = f"(answer_to := open({device!r})) and {MAP}"
    assert f"fuse: {device} is in use: opened by python3" in mapping.refused(opened)
    device = mapping.call(MAP)
    # To write, it has to wait for up to 30 s, until Ceph takes the dead one for dead.
    look = f"mount -o ro,noload {device} /mnt && cat /mnt/it && umount /mnt"
    assert mapping.sh(look) == "kept"


def test_of_a_killed_daemon_unmapping_leaves_nothing(mapping: Mapping) -> None:
    mapping.sh(f"kill -9 $(cat '{STATE}/pid')")
    mapping.call("mappers.unmap(volume)")
    assert mapping.left() == ""


def test_a_killed_call_is_made_good_by_the_next(mapping: Mapping) -> None:
    line = shlex.join(mapping.program(MAP))
    for seconds in (0.3, 0.4, 0.5):
        mapping.lab.run(NODE, f"timeout -s KILL {seconds} {line}", check=False)
        assert mapping.call(MAP).startswith("/dev/loop")
        assert mapping.sh("pgrep -c qemu-storage") == "1"
        mapping.call("mappers.unmap(volume)")
        assert mapping.left() == ""


def test_two_at_the_same_time_make_one_device(mapping: Mapping) -> None:
    line = shlex.join(mapping.program(MAP))
    found = mapping.sh(f"{line} & {line} & {line} & wait").split()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert mapping.sh("pgrep -c qemu-storage") == "1"
    mapping.call("mappers.unmap(volume)")


def test_an_image_that_is_open_elsewhere_can_be_mapped(mapping: Mapping) -> None:
    # As it is when an instance migrates.
    with hold(mapping.lab, "node1", IMAGE):
        device = mapping.call(MAP)
        mapping.sh(f"dd if={device} of=/dev/null bs=1M count=1")
        mapping.call("mappers.unmap(volume)")


def test_where_no_mapper_works_each_says_why(mapping: Mapping) -> None:
    missing = 'mappers.map(Volume("rbd", "nosuch"), Mapper.AUTO, ())'
    said = mapping.refused(missing)
    assert said.startswith("cannot map the image rbd/nosuch: krbd: ")
    assert "; nbd: the program rbd-nbd is not installed; fuse: " in said
    assert said.endswith(": No such file or directory")
    assert mapping.left() == ""


def test_the_node_daemons_end_is_not_the_devices(mapping: Mapping) -> None:
    # Where the node daemon's processes are, and those that they start.
    mapping.sh("systemctl restart ganeti")
    group = mapping.sh("systemctl show --value -p ControlGroup ganeti")
    enter = f"echo $$ > /sys/fs/cgroup{group}/cgroup.procs"
    device = json.loads(mapping.sh(f"{enter}; {shlex.join(mapping.program(MAP))}"))
    daemon = mapping.sh(f"cat '{STATE}/pid'")
    noded = mapping.sh("pgrep -f ganeti-noded")
    assert group in mapping.sh(f"cat /proc/{daemon}/cgroup")

    mapping.sh("systemctl restart ganeti")

    assert mapping.sh("pgrep -f ganeti-noded") != noded
    assert mapping.sh("pgrep qemu-storage") == daemon
    assert mapping.call(MAP) == device
    mapping.sh(f"dd if={device} of=/dev/null bs=1M count=1 iflag=direct")
    mapping.call("mappers.unmap(volume)")
    assert mapping.left() == ""
