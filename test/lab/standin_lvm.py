#!/usr/bin/python3
"""LVM in a node whose kernel has no device-mapper: takes the place of lvm and lsblk.

Volume groups are LVM's own, whose program does all that it does to metadata.  What the
kernel would do is done here: each active logical volume, which lies in one piece, is a
loop device on its part of the disk, and a disk with one of them is held, so that nobody
else can open it exclusively.  lsblk tells of disks and volumes where it sees loop
devices.
"""

import fcntl
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

#: Where the programs are whose places this one takes.
PROGRAMS = Path("/usr/lib/standin")
LOCK = "/run/standin-lvm.lock"
#: The volumes that were deactivated, as group/volume.
INACTIVE = Path("/run/standin-lvm.inactive")
HOLD = "import os, sys, time; os.open(sys.argv[1], os.O_EXCL); time.sleep(1e9)"

Volumes = dict[str, tuple[str, int, int]]


def main() -> None:
    """Do what the program of this name is asked for, and what the kernel would do."""
    os.umask(0o022)
    command, *words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if command == "lsblk":
        sys.exit(lsblk(words))
    if command == "lvm":
        command, *words = words
    with open(LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if command == "lvcreate":
            # Of what wants the kernel Ganeti gives this option, ceph-volume none.
            words = [word for word in words if word != "-Wn"]
            words = ["--activate=n", "--zero=n", "--wipesignatures=n", *words]
        done = lvm(command, *words)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        if command in ("lvchange", "vgchange"):
            note_activity(words)
        if command not in ("lvs", "pvs", "vgs"):
            follow(zero=command == "lvcreate")
    sys.exit(done.returncode)


def lsblk(words: list[str]) -> int:
    """Say disk and lvm where the real one says loop, in lines of NAME="value"."""
    done = subprocess.run(
        [PROGRAMS / "lsblk", *words], text=True, stdout=subprocess.PIPE, check=False
    )
    for line in done.stdout.splitlines(keepends=True):
        found = re.search(r'\bNAME="(?:/dev/)?(loop\d+)"', line)
        if found:
            part = told(Path("/sys/block", found[1]), "sizelimit") not in ("", "0")
            line = re.sub(r'\bTYPE="loop"', f'TYPE="{"lvm" if part else "disk"}"', line)
        sys.stdout.write(line)
    return done.returncode


def lvm(command: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run LVM's program, which is told that there is no kernel to ask."""
    done = subprocess.run(
        [PROGRAMS / "lvm", command, "--driverloaded", "n", *words],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "LVM_SUPPRESS_FD_WARNINGS": "1"},
    )
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if "Activation disabled" not in line)
    return done


def report(command: str, *fields: str) -> list[list[str]]:
    """Return fields as LVM's program reports them, sizes in bytes."""
    words = ["--noheadings", "--separator=|", "--units=b", "--nosuffix"]
    done = lvm(command, *words, "--options", ",".join(fields))
    return [line.strip().split("|") for line in done.stdout.splitlines()]


def note_activity(words: list[str]) -> None:
    """Note what was activated or deactivated."""
    if "-an" not in words and "-ay" not in words:
        return
    named = {word.removeprefix("/dev/") for word in words if not word.startswith("-")}
    every = {f"{group}/{name}" for group, name in report("lvs", "vg_name", "lv_name")}
    meant = {one for one in every if {one, one.partition("/")[0]} & named or not named}
    was = set(INACTIVE.read_text().split()) if INACTIVE.exists() else set()
    INACTIVE.write_text("\n".join(was | meant if "-an" in words else was - meant))


def volumes() -> Volumes:
    """Return the disk, offset and size of each active volume, in bytes."""
    inactive = INACTIVE.read_text().split() if INACTIVE.exists() else []
    begin = {disk: int(start) for disk, start in report("pvs", "pv_name", "pe_start")}
    found: Volumes = {}
    fields = ("vg_name", "lv_name", "vg_extent_size", "seg_pe_ranges")
    for group, name, extent, ranges in report("lvs", *fields):
        if f"{group}/{name}" in inactive:
            continue
        disk, first, last = re.fullmatch(r"(.+):(\d+)-(\d+)", ranges).groups()
        path = f"/dev/{group}/{name}"
        if path in found:
            before = found[path]
            if before[1] + before[2] != begin[disk] + int(first) * int(extent):
                sys.exit(f"{path} is in pieces, which this stand-in cannot have")
            count = before[2] // int(extent) + int(last) - int(first) + 1
            found[path] = (*before[:2], count * int(extent))
            continue
        size = (int(last) - int(first) + 1) * int(extent)
        found[path] = (disk, begin[disk] + int(first) * int(extent), size)
    return found


def follow(zero: bool) -> None:
    """Make loop devices, their nodes and holds be as the metadata says.

    The beginning of what is new may be zeroed, as LVM does.
    """
    wanted = volumes()
    loops = listed()
    for device, place in loops.items():
        if place not in wanted.values():
            subprocess.run(["losetup", "--detach", device], check=True)
            # Another node may get this number.
            Path(device).unlink()
    by_place = {place: device for device, place in loops.items()}
    minors = {}
    for path, place in wanted.items():
        device = by_place.get(place)
        if not device:
            device = attach(*place)
            if zero:
                with open(device, "r+b") as volume:
                    volume.write(bytes(4096))
        minors[path] = int(device.removeprefix("/dev/loop"))
    for node in Path("/dev").glob("*/*"):
        is_node = node.is_block_device() and not node.is_symlink()
        if is_node and os.minor(node.stat().st_rdev) != minors.get(str(node)):
            node.unlink()
    for path, minor in minors.items():
        if not Path(path).exists():
            Path(path).parent.mkdir(exist_ok=True)
            os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(7, minor))
    hold({disk for disk, _, _ in wanted.values()})


def listed() -> dict[str, tuple[str, int, int]]:
    """Return the loop devices on parts of this node's disks."""
    found = {}
    for loop in Path("/sys/block").glob("loop*"):
        size, disk = told(loop, "sizelimit"), told(loop, "backing_file")
        offset = told(loop, "offset")
        ours = disk.startswith("/dev/loop") and Path(disk).exists()
        if ours and offset and size not in ("", "0"):
            device = f"/dev/{loop.name}"
            make_node(device)
            found[device] = (disk, int(offset), int(size))
    return found


def told(loop: Path, what: str) -> str:
    """Return what the kernel tells of a loop device, "" if it has no file now."""
    try:
        return (loop / "loop" / what).read_text().strip()
    except OSError:
        # It may be another node's, which ends it at any time.
        return ""


def attach(disk: str, offset: int, size: int) -> str:
    """Return a new loop device on a part of a disk."""
    part = [f"--offset={offset}", f"--sizelimit={size}"]
    for _ in range(20):
        free = subprocess.run(
            ["losetup", "--find"], check=True, text=True, capture_output=True
        ).stdout.split()[0]
        make_node(free)
        if subprocess.run(["losetup", *part, free, disk], check=False).returncode == 0:
            return free
        # Another node was faster, whose volume is not to be seen here.
        Path(free).unlink()
    sys.exit(f"no loop device for {disk}")


def make_node(device: str) -> None:
    """Make the node of a loop device, which nobody does here."""
    if not Path(device).exists():
        minor = int(device.removeprefix("/dev/loop"))
        os.mknod(device, stat.S_IFBLK | 0o660, os.makedev(7, minor))


def hold(disks: set[str]) -> None:
    """Hold disks exclusively as device-mapper does, and no others."""
    for pid in Path("/proc").glob("[0-9]*"):
        try:
            words = (pid / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if HOLD in words:
            disk = words[words.index(HOLD) + 1]
            if disk in disks:
                disks.discard(disk)
            else:
                os.kill(int(pid.name), 9)
    for disk in disks:
        # systemd may not be done with the unit of the one before.
        unit = f"standin-hold-{Path(disk).name}-{time.monotonic_ns()}"
        command = ["systemd-run", "--quiet", "--collect", f"--unit={unit}"]
        # It is done while the node boots, too, where nothing else may be waited for.
        command += ["--property=DefaultDependencies=no"]
        subprocess.run([*command, sys.executable, "-c", HOLD, disk], check=True)


if __name__ == "__main__":
    main()
