"""Mappers: what the node's files say, what programs are told, and what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes import FSID, OTHER_FSID, RELEASES, FakeRunner, recorded

from ganeti_ceph.disk import mappers
from ganeti_ceph.disk.mappers import base, fuse, krbd, loop, nbd, use
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError

VOLUME = Volume("rbd", "web.rbd.disk0", user="ganeti")
GIB = 2**30


class Node:
    """The files of a node's kernel, below a temporary directory."""

    def __init__(self, root):
        self.root = root
        for folder in ("sys/block", "proc/self", "dev"):
            (root / folder).mkdir(parents=True)
        self.mount()

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def krbd(self, number, image, pool="rbd", namespace="", snap="-", fsid=FSID):
        values = {
            "pool": pool,
            "pool_ns": namespace,
            "name": image,
            "current_snap": snap,
            "cluster_fsid": fsid,
        }
        for name, value in values.items():
            self.write(f"sys/bus/rbd/devices/{number}/{name}", value)

    def nbd(self, number, *command, process=6000):
        process += number
        self.write(f"sys/block/nbd{number}/pid", process)
        (self.root / "proc" / str(process)).mkdir()
        line = "".join(f"{word}\0" for word in command)
        (self.root / f"proc/{process}/cmdline").write_text(line)

    def loop(self, number, file, seq=77):
        self.write(f"sys/block/loop{number}/diskseq", seq)
        self.write(f"sys/block/loop{number}/loop/backing_file", file)
        self.write(f"sys/block/loop{number}/loop/autoclear", 0)
        self.write(f"dev/loop{number}", "")

    def no_loop(self, number):
        shutil.rmtree(self.root / f"sys/block/loop{number}/loop")

    def mount(self, *files):
        lines = [f"5 4 0:30{n} / {file} rw - fuse" for n, file in enumerate(files)]
        (self.root / "proc/self/mountinfo").write_text("\n".join(lines))


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node whose kernel has none of the drivers, and where no device is in use."""
    node = Node(tmp_path)
    monkeypatch.setattr(base, "SYS", tmp_path / "sys")
    monkeypatch.setattr(base, "PROC", tmp_path / "proc")
    monkeypatch.setattr(base, "DEV", tmp_path / "dev")
    monkeypatch.setattr(fuse, "ROOT", tmp_path / "run/map")
    monkeypatch.setattr(use, "check", lambda device: None)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    return node


@pytest.fixture
def runner():
    runner = FakeRunner()
    runner.knows("modprobe", code=1)
    return runner


def refuses(message):
    """Make an effect for a program that fails as :func:`run` would tell it."""

    def refuse(argv):
        last = "; ".join(message.strip().splitlines()[-3:])
        raise ExecError(f"'{' '.join(argv)}' failed with exit code 1: {last}")

    return refuse


def in_use(device):
    raise ExecError(f"{device} is in use: mounted on /mnt")


# The kernel's driver


def test_an_image_that_the_kernel_has_is_found(node, runner):
    node.krbd(0, "other.rbd.disk0")
    node.krbd(11, "web.rbd.disk0")
    assert mappers.find(VOLUME, runner) == "/dev/rbd11"
    assert runner.calls == []


@pytest.mark.parametrize(
    "mapped", [{"pool": "ssd"}, {"namespace": "ns"}, {"snap": "monday"}]
)
def test_another_image_that_the_kernel_has_is_not_it(node, runner, mapped):
    node.krbd(0, "web.rbd.disk0", **mapped)
    assert mappers.find(VOLUME, runner) is None


@pytest.mark.parametrize(("fsid", "found"), [(FSID, "/dev/rbd0"), (OTHER_FSID, None)])
def test_the_storage_cluster_of_an_image_counts(node, runner, tmp_path, fsid, found):
    conf = tmp_path / "far.conf"
    conf.write_text(f"[global]\nfsid = {FSID}\n")
    node.krbd(0, "web.rbd.disk0", fsid=fsid)
    far = Volume("rbd", "web.rbd.disk0", conf=str(conf))
    assert mappers.find(far, runner) == found


def test_all_that_is_mapped(node, runner):
    node.krbd(0, "web.rbd.disk0", pool="my-pool", namespace="ns1")
    node.krbd(1, "db.rbd.disk0")
    assert mappers.mapped(runner) == {
        "my-pool/ns1/web.rbd.disk0": "/dev/rbd0",
        "rbd/db.rbd.disk0": "/dev/rbd1",
    }


def test_a_kernel_without_rbd_is_one_reason(node, runner):
    with pytest.raises(ExecError, match=r"this node's kernel has no rbd driver$"):
        krbd.Krbd().check(VOLUME, (), runner)
    assert runner.calls == [["modprobe", "rbd"]]


def test_features_that_the_kernel_lacks_are_named_before_it_is_asked(node, runner):
    node.write("sys/bus/rbd/supported_features", "0x1bf")
    usual = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten")
    krbd.Krbd().check(VOLUME, (*usual, "data-pool"), runner)
    with pytest.raises(ExecError) as caught:
        krbd.Krbd().check(VOLUME, (*usual, "journaling", "holography"), runner)
    assert str(caught.value) == (
        "the kernel cannot map images with journaling, holography; use another mapper"
        " or 'rbd feature disable rbd/web.rbd.disk0 journaling holography'"
    )
    assert runner.calls == []


def test_the_rbd_program_maps_and_unmaps(node, runner):
    node.write("sys/bus/rbd/supported_features", "0x1bf")
    runner.knows("rbd", "device", "map", output="/dev/rbd3\n")
    assert mappers.map(VOLUME, Mapper.KRBD, ("layering",), runner) == "/dev/rbd3"
    (command,) = runner.calls
    assert command == [
        *("rbd", "device", "map", "rbd/web.rbd.disk0", "--id", "ganeti"),
        *("--conf", "/etc/ceph/ceph.conf", "--options", "mount_timeout=24"),
    ]
    node.krbd(3, "web.rbd.disk0")
    runner.knows("rbd", "device", "unmap")
    mappers.unmap(VOLUME, runner)
    assert runner.calls[1:] == [["rbd", "device", "unmap", "/dev/rbd3"]]


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_kernel_refuses_is_told_without_its_log(node, runner, release):
    refused = recorded(release, "rbd-device-map-no-driver.txt")
    runner.knows("rbd", "device", "map", effect=refuses(refused))
    with pytest.raises(ExecError, match=r"^there is no such image, pool or namespace$"):
        krbd.Krbd().map(VOLUME, 5, runner)
    unknown = "rbd: map failed: (6) No such device or address"
    runner.knows("rbd", "device", "map", effect=refuses(unknown))
    with pytest.raises(ExecError, match=r"^the kernel lacks a feature of the image$"):
        krbd.Krbd().map(VOLUME, 5, runner)
    runner.knows("rbd", "device", "map", effect=refuses("rbd: udev wait failed"))
    with pytest.raises(ExecError, match=r"^rbd: udev wait failed$"):
        krbd.Krbd().map(VOLUME, 5, runner)


@pytest.mark.parametrize("driver", ["krbd", "nbd"])
def test_a_device_in_use_is_not_unmapped(node, runner, monkeypatch, driver):
    monkeypatch.setattr(use, "check", in_use)
    if driver == "krbd":
        node.krbd(1, "web.rbd.disk0")
    else:
        node.nbd(1, "rbd-nbd", "map", "web.rbd.disk0", "--conf", "/root/far.conf")
        listing = recorded("trixie", "rbd-nbd-list-mapped.json")
        listing = re.sub(r'"id":\d+', '"id":6001', listing)
        runner.knows("rbd-nbd", "list-mapped", output=listing)
    far = Volume("rbd", "web.rbd.disk0", conf="/root/far.conf")
    with pytest.raises(ExecError) as caught:
        mappers.unmap(far, runner)
    assert str(caught.value).startswith(
        "cannot unmap the image rbd/web.rbd.disk0: /dev/"
    )
    assert str(caught.value).endswith("1 is in use: mounted on /mnt")
    assert [call[1] for call in runner.calls] == ["list-mapped"] * (driver == "nbd")


# rbd-nbd


@pytest.fixture(params=RELEASES)
def with_nbd(request, node, runner):
    """A node with three images behind rbd-nbd, one of them a snapshot."""
    listing = recorded(request.param, "rbd-nbd-list-mapped.json")
    rows = json.loads(listing)
    commands = [
        ("map", "my-pool/ns1/web.rbd.disk1", "--id", "ganeti", "-c", "/root/far.conf"),
        ("map", "--conf=/root/far.conf", "web.rbd.disk0"),
        ("map", "rbd/web.rbd.disk0@monday", "--conf", "/root/far.conf"),
    ]
    for row, command in zip(rows, commands, strict=True):
        number = int(row["device"].removeprefix("/dev/nbd"))
        node.nbd(number, "rbd-nbd", *command, process=row["id"] - number)
    runner.knows("rbd-nbd", "list-mapped", "--format", "json", output=listing)
    return node


def test_an_image_that_an_rbd_nbd_has_is_found(with_nbd, runner):
    far = Volume("rbd", "web.rbd.disk0", conf="/root/far.conf")
    assert mappers.find(far, runner) == "/dev/nbd1"
    assert mappers.find(VOLUME, runner) is None, "it is of another storage cluster"
    assert mappers.mapped(runner) == {
        "my-pool/ns1/web.rbd.disk1": "/dev/nbd0",
        "rbd/web.rbd.disk0": "/dev/nbd1",
    }


def test_an_rbd_nbd_is_ended_and_waited_for(with_nbd, runner):
    gone = threading.Timer(0.3, lambda: (with_nbd.root / "sys/block/nbd0/pid").unlink())
    runner.knows("rbd-nbd", "unmap", effect=lambda argv: gone.start())
    far = Volume("my-pool", "web.rbd.disk1", "ns1", conf="/root/far.conf")
    mappers.unmap(far, runner)
    assert not (with_nbd.root / "sys/block/nbd0/pid").exists()
    assert runner.calls[-1] == ["rbd-nbd", "unmap", "/dev/nbd0"]


def test_a_device_that_stays_connected_is_told(with_nbd, runner, monkeypatch):
    monkeypatch.setattr(nbd, "_PATIENCE", 0.1)
    runner.knows("rbd-nbd", "unmap")
    far = Volume("rbd", "web.rbd.disk0", conf="/root/far.conf")
    with pytest.raises(ExecError, match="/dev/nbd1 is still connected"):
        mappers.unmap(far, runner)


@pytest.mark.parametrize(
    ("options", "conf"),
    [
        ([], "/etc/ceph/ceph.conf"),
        (["--conf", "/a"], "/a"),
        (["--conf=/a"], "/a"),
        (["-c", "/a"], "/a"),
        (["--cluster", "far"], "/etc/ceph/far.conf"),
    ],
)
def test_the_storage_cluster_of_an_rbd_nbd(node, runner, options, conf):
    node.nbd(2, "rbd-nbd", "map", "rbd/img", *options, process=70)
    row = {"id": 72, "pool": "rbd", "image": "img", "snap": "", "device": "/dev/nbd2"}
    runner.knows("rbd-nbd", output=json.dumps([row]))
    assert [one.conf for one in nbd.Nbd().mapped(runner)] == [conf]


def test_rbd_nbd_maps_what_the_kernel_lacks(node, runner):
    node.write("sys/bus/rbd/supported_features", "0x1bf")
    node.write("sys/module/nbd/version", "")
    runner.knows("rbd-nbd", "map", output="/dev/nbd0\n")
    assert mappers.map(VOLUME, Mapper.AUTO, ("journaling",), runner) == "/dev/nbd0"
    assert runner.calls == [
        [
            *("rbd-nbd", "map", "rbd/web.rbd.disk0", "--id", "ganeti"),
            *("--conf", "/etc/ceph/ceph.conf", "--client_mount_timeout", "24"),
        ]
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_what_rbd_nbd_refuses_is_told(node, runner, release):
    refused = recorded(release, "rbd-nbd-map-no-driver.txt")
    runner.knows("rbd-nbd", "map", effect=refuses(refused))
    with pytest.raises(
        ExecError, match=r"rbd-nbd: failed to find unused device$"
    ) as at:
        nbd.Nbd().map(VOLUME, 5, runner)
    assert "--conf" not in str(at.value)
    # Of an image that is missing it says nothing.
    runner.knows("rbd-nbd", "map", effect=refuses(""))
    with pytest.raises(ExecError, match=r"'rbd-nbd map .*' failed with exit code 1"):
        nbd.Nbd().map(VOLUME, 5, runner)


# QEMU's storage daemon


class Daemons:
    """Storage daemons that do nothing but be there; started as the real one is."""

    def __init__(self, node, runner):
        self.node = node
        self.processes = []
        self.loops = 0
        runner.knows("env", effect=self.start)
        runner.knows(
            "losetup",
            "--find",
            "--show",
            output="/dev/loop7\n",
            effect=self.attach,
        )
        runner.knows("losetup", "--detach", effect=self.detach)
        runner.knows("umount", effect=lambda argv: node.mount())

    def start(self, argv):
        words = argv[argv.index("qemu-storage-daemon") :]
        pidfile = words[words.index("--pidfile") + 1]
        code = (
            "import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], 'w'),"
            " sys.exit()))\n"
            "print(flush=True)\n"
            "time.sleep(60)"
        )
        mountinfo = self.node.root / "proc/self/mountinfo"
        process = subprocess.Popen(
            ["qemu-storage-daemon", "-c", code, mountinfo, *words[1:]],
            executable=sys.executable,
            stdout=subprocess.PIPE,
        )
        process.stdout.read(1)
        self.processes.append(process)
        number = process.pid
        (self.node.root / "proc" / str(number)).symlink_to(f"/proc/{number}")
        self.node.mount(Path(pidfile).with_name("disk"))
        with open(pidfile, "w") as file:
            file.write(f"{number}\n")

    def attach(self, argv):
        self.loops += 1
        self.node.loop(7, argv[-1], seq=100 + self.loops)

    def detach(self, argv):
        self.node.no_loop(7)

    def running(self):
        return [one for one in self.processes if one.poll() is None]


@pytest.fixture
def daemons(node, runner):
    """A node that has what the storage daemon needs."""
    node.write("dev/fuse", "")
    node.write("dev/loop-control", "")
    daemons = Daemons(node, runner)
    yield daemons
    for process in daemons.processes:
        process.kill()
        process.wait()
        process.stdout.close()


def map_it(runner):
    return mappers.map(VOLUME, Mapper.FUSE, (), runner)


def test_a_daemon_shows_the_image_to_a_loop_device(daemons, runner):
    assert map_it(runner) == "/dev/loop7"
    env, timeout, *command = runner.calls[0]
    assert (env, timeout) == ("env", "CEPH_ARGS=--client_mount_timeout=24")
    options = dict(zip(command[2::2], command[3::2], strict=False))
    disk = str(fuse.ROOT / "rbd%2Fweb.rbd.disk0/disk")
    assert json.loads(options["--blockdev"]) == {
        **VOLUME.blockdev(),
        "node-name": "image",
        "discard": "unmap",
    }
    export = json.loads(options["--export"])
    assert (export["mountpoint"], export["writable"]) == (disk, True)
    assert runner.calls[1][-2:] == ["--direct-io=on", disk]
    assert fuse.ROOT.stat().st_mode & 0o777 == 0o700
    assert len(options["--chardev"]) < 150


def test_a_mapped_image_is_found_and_not_mapped_again(daemons, runner):
    map_it(runner)
    done = len(runner.calls)
    assert map_it(runner) == "/dev/loop7"
    assert mappers.find(VOLUME, runner) == "/dev/loop7"
    assert mappers.mapped(runner) == {"rbd/web.rbd.disk0": "/dev/loop7"}
    assert len(runner.calls) == done


def test_two_at_the_same_time_make_one_device(daemons, runner):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(map_it(runner))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["/dev/loop7"] * 4
    assert len(daemons.processes) == 1


def test_nothing_is_left_after_unmapping(daemons, runner):
    map_it(runner)
    mappers.unmap(VOLUME, runner)
    assert daemons.processes[0].wait(5) == 0, "it was asked, not killed"
    assert list(fuse.ROOT.iterdir()) == []
    assert mappers.find(VOLUME, runner) is None
    assert runner.programs().count("umount") == 0
    done = len(runner.calls)
    mappers.unmap(VOLUME, runner)
    assert len(runner.calls) == done


def test_while_it_is_in_use_all_stays(daemons, runner, monkeypatch):
    map_it(runner)
    monkeypatch.setattr(use, "check", in_use)
    with pytest.raises(ExecError, match="/dev/loop7 is in use: mounted on /mnt"):
        mappers.unmap(VOLUME, runner)
    assert mappers.find(VOLUME, runner) == "/dev/loop7"


@pytest.mark.parametrize("after", ["map", "unmap"])
def test_what_a_killed_daemon_left_is_taken_away(daemons, runner, after):
    map_it(runner)
    daemons.processes[0].kill()
    daemons.processes[0].wait()
    assert mappers.find(VOLUME, runner) is None
    if after == "map":
        map_it(runner)
        assert len(daemons.running()) == 1
    else:
        mappers.unmap(VOLUME, runner)
        assert list(fuse.ROOT.iterdir()) == []
    programs = [" ".join(call[:2]) for call in runner.calls]
    assert programs.index("losetup --detach") < programs.index(
        f"umount {fuse.ROOT}/rbd%2Fweb.rbd.disk0/disk"
    )


@pytest.mark.parametrize("missing", ["loop", "pid", "mount"])
def test_what_a_killed_call_left_is_made_anew(daemons, runner, missing):
    map_it(runner)
    state = fuse.ROOT / "rbd%2Fweb.rbd.disk0"
    if missing == "loop":
        (state / "loop").unlink()  # attached, but not yet noted
    else:
        daemons.node.no_loop(7)
        (state / "loop").unlink()
        if missing == "pid":
            (state / "pid").unlink()
        else:
            daemons.node.mount()
    assert mappers.find(VOLUME, runner) is None
    assert map_it(runner) == "/dev/loop7"
    assert len(daemons.running()) == 1
    assert daemons.processes[0].poll() is not None
    detached = ["losetup", "--detach", "/dev/loop7"] in runner.calls
    assert detached == (missing == "loop")


def test_the_loop_device_of_another_container_is_let_alone(daemons, runner):
    map_it(runner)
    disk = fuse.ROOT / "rbd%2Fweb.rbd.disk0/disk"
    daemons.node.loop(8, disk, seq=500)  # same path, another name space
    mappers.unmap(VOLUME, runner)
    detached = [call[-1] for call in runner.calls if call[1] == "--detach"]
    assert detached == ["/dev/loop7"]


def test_a_loop_device_that_goes_when_it_is_closed_is_none(daemons, runner):
    map_it(runner)
    daemons.node.write("sys/block/loop7/loop/autoclear", 1)
    assert mappers.find(VOLUME, runner) is None


def test_why_a_daemon_does_not_start_is_told_in_short(daemons, runner):
    said = (
        'qemu-storage-daemon: --blockdev {"driver": "rbd", "pool": "rbd"}: error'
        " reading header from web.rbd.disk0: No such file or directory"
    )
    runner.knows("env", effect=refuses(said))
    with pytest.raises(ExecError) as caught:
        map_it(runner)
    assert str(caught.value) == (
        "cannot map the image rbd/web.rbd.disk0: fuse: error reading header from"
        " web.rbd.disk0: No such file or directory"
    )
    assert list(fuse.ROOT.iterdir()) == []


def test_without_a_loop_device_the_daemon_ends_again(daemons, runner):
    runner.knows("losetup", "--find", output="/dev/loop9\n")
    runner.knows("losetup", "--find", "--show", effect=refuses("losetup: no"))
    daemons.node.write("dev/loop9", "")
    with pytest.raises(ExecError, match=r"fuse: losetup: no$"):
        map_it(runner)
    assert daemons.processes[0].wait(5) == 0
    assert list(fuse.ROOT.iterdir()) == []


def test_a_daemon_that_does_not_end_is_told(daemons, runner, monkeypatch):
    monkeypatch.setattr(fuse, "_PATIENCE", 0.2)
    map_it(runner)
    monkeypatch.setattr(fuse.signal, "pidfd_send_signal", lambda *_: None)
    with pytest.raises(ExecError, match=r"did not end within 0.2 s; does the storage"):
        mappers.unmap(VOLUME, runner)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("program", "the program qemu-storage-daemon is not installed"),
        ("fuse", "this node's kernel has no fuse driver"),
        ("loop-control", "this node's kernel has no loop driver"),
    ],
)
def test_what_a_daemon_needs(daemons, runner, monkeypatch, lacking, said):
    if lacking == "program":
        monkeypatch.setattr(shutil, "which", lambda program: None)
    else:
        (base.DEV / lacking).unlink()
    with pytest.raises(ExecError, match=f"fuse: {said}$"):
        map_it(runner)


def test_a_file_name_tells_the_image_and_its_storage_cluster():
    far = Volume("my-pool", "Web.Disk", "ns", conf="/etc/ceph/far.conf")
    state = fuse._State.of(far)
    assert (state.image, state.conf) == ("my-pool/ns/Web.Disk", "/etc/ceph/far.conf")
    assert fuse.key(far) != fuse.key(Volume("my-pool", "Web.Disk", "ns"))
    near = fuse._State.of(VOLUME)
    assert (near.image, near.conf) == ("rbd/web.rbd.disk0", VOLUME.conf)


def test_long_names_leave_room_for_a_sockets_path():
    long = Volume("p" * 60, "i" * 100, "n" * 40)
    assert len(str(fuse._State.of(long).socket)) < 100


def test_the_node_of_a_free_loop_device_is_made_where_it_is_missing(
    node, runner, monkeypatch
):
    made = []

    def mknod(path, mode, device):
        made.append((path.name, os.major(device), os.minor(device)))
        path.touch()
        runner.knows("losetup", "--find", "--show", output="/dev/loop15\n")

    monkeypatch.setattr(os, "mknod", mknod)
    runner.knows("losetup", "--find", output="/dev/loop15 (lost)\n")
    runner.knows("losetup", "--find", "--show", effect=refuses("losetup: failed"))
    assert loop.attach("/run/disk", runner) == "/dev/loop15"
    assert made == [("loop15", 7, 15)]


def test_another_loop_device_is_tried_where_one_was_taken_meanwhile(node, runner):
    answers = [refuses("losetup: /dev/loop9: in use"), lambda argv: None]
    runner.knows("losetup", "--find", output="/dev/loop10\n")
    node.write("dev/loop10", "")
    runner.knows(
        "losetup",
        "--find",
        "--show",
        output="/dev/loop10\n",
        effect=lambda argv: answers.pop(0)(argv),
    )
    assert loop.attach("/run/disk", runner) == "/dev/loop10"
    assert answers == []


def test_a_kernel_that_does_not_answer_is_not_asked_again(node, runner, monkeypatch):
    monkeypatch.setattr(loop, "_PATIENCE", -1)
    runner.knows("losetup", "--find", "--show", effect=refuses("losetup: timed out"))
    with pytest.raises(ExecError, match=r"^losetup: timed out$"):
        loop.attach("/run/disk", runner)
    assert len(runner.calls) == 1


def test_a_loop_device_that_was_opened_meanwhile_is_told(node, runner, monkeypatch):
    monkeypatch.setattr(loop, "_PATIENCE", 0.1)
    monkeypatch.setattr(use, "by_whom", lambda device: "opened by vi (process 9)")
    node.loop(7, "/run/disk")
    runner.knows("losetup", "--detach")
    with pytest.raises(ExecError, match=r"/dev/loop7 is in use: opened by vi"):
        loop.detach("/dev/loop7", runner)


def test_a_grown_image_is_shown_by_the_loop_device(daemons, runner, monkeypatch):
    map_it(runner)
    disk = fuse.ROOT / "rbd%2Fweb.rbd.disk0/disk"
    told = []

    def tell(path, command, arguments):
        told.append((command, arguments))
        os.truncate(disk, arguments["size"])

    def shows(argv):
        daemons.node.write("sys/block/loop7/size", GIB // 512)

    monkeypatch.setattr(fuse, "_tell", tell)
    runner.knows("losetup", "--set-capacity", "/dev/loop7", effect=shows)
    mappers.resized(VOLUME, GIB, runner)
    assert told == [("block_resize", {"node-name": "image", "size": GIB})]
    assert runner.calls[-1] == ["losetup", "--set-capacity", "/dev/loop7"]


def test_a_device_that_keeps_its_old_size_is_told(node, runner, monkeypatch):
    node.krbd(0, "web.rbd.disk0")
    node.write("sys/block/rbd0/size", 8)
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.raises(ExecError, match="/dev/rbd0 does not show the new size after"):
        mappers.resized(VOLUME, GIB, runner)


def test_an_image_that_is_not_mapped_needs_no_resizing(node, runner):
    mappers.resized(VOLUME, GIB, runner)
    assert runner.calls == []


# Which mapper


def test_auto_takes_the_first_that_works(daemons, runner):
    assert mappers.map(VOLUME, Mapper.AUTO, (), runner) == "/dev/loop7"
    tried = [call[1] for call in runner.calls if call[0] == "modprobe"]
    assert tried == ["rbd", "nbd"]


def test_where_none_works_each_says_why(node, runner):
    with pytest.raises(ExecError) as caught:
        mappers.map(VOLUME, Mapper.AUTO, (), runner)
    assert str(caught.value) == (
        "cannot map the image rbd/web.rbd.disk0: krbd: this node's kernel has no rbd"
        " driver; nbd: this node's kernel has no nbd driver; fuse: this node's kernel"
        " has no fuse driver"
    )


def test_a_named_mapper_is_the_only_one(daemons, runner):
    with pytest.raises(ExecError, match="disk0: krbd: this node's kernel has no rbd"):
        mappers.map(VOLUME, Mapper.KRBD, (), runner)
    assert daemons.processes == []


def test_all_mappers_together_have_one_time_limit(daemons, runner, monkeypatch):
    node, spent = daemons.node, []
    node.write("sys/bus/rbd/supported_features", "0x1bf")
    monkeypatch.setattr(time, "monotonic", lambda: 30.0 * len(spent))
    late = "rbd did not end within 27 s: rbd device map rbd/web.rbd.disk0"

    def hang(argv):
        spent.append(argv)
        raise ExecError(late)

    runner.knows("rbd", "device", "map", effect=hang)
    with pytest.raises(ExecError) as caught:
        mappers.map(VOLUME, Mapper.AUTO, (), runner)
    assert str(caught.value).endswith(
        "krbd: rbd did not end within 27 s; nbd: no time was left; fuse: no time was"
        " left"
    )


def test_who_works_at_the_same_image_is_waited_for_but_not_for_ever(
    node, runner, monkeypatch
):
    monkeypatch.setattr(mappers, "_TURN", 0.1)
    with mappers._alone(VOLUME):
        with pytest.raises(ExecError, match="another process is at it for more than"):
            mappers.unmap(VOLUME, runner)
        mappers.unmap(Volume("rbd", "other"), runner)
    mappers.unmap(VOLUME, runner)
    assert list(fuse.ROOT.iterdir()) == []


# Who uses a device


def test_who_has_a_device_open_is_named():
    with open("/dev/full"):
        by_whom = use.by_whom("/dev/full")
    assert by_whom.startswith("opened by ")
    assert f"(process {os.getpid()})" in by_whom
    assert f"(process {os.getpid()})" not in use.by_whom("/dev/full")


def test_a_look_at_a_device_is_waited_for_and_a_use_is_not(monkeypatch):
    users = iter(["opened by udevd (process 3)", ""])
    monkeypatch.setattr(use, "by_whom", lambda device: next(users))
    use.check("/dev/full")
    monkeypatch.setattr(use, "by_whom", lambda device: "mounted on /mnt")
    monkeypatch.setattr(use.devices, "user", lambda device: "mounted on /mnt")
    begun = time.monotonic()
    with pytest.raises(ExecError, match=r"^/dev/full is in use: mounted on /mnt$"):
        use.check("/dev/full")
    assert time.monotonic() - begun < use._GLANCE
