"""The nodes' disks: sparse files behind loop devices."""

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .programs import run, stdout_of

DISK_SIZE = 10 * 1024**3
LOOP_MAJOR = 7


@dataclass(frozen=True)
class Loop:
    """A loop device in use."""

    device: Path
    backing: str
    backing_device: str


def parse_loops(listing: str) -> list[Loop]:
    """Return the loop devices in losetup's JSON output."""
    if not listing.strip():
        return []
    return [
        Loop(
            Path(row["name"]),
            row["back-file"] or "",
            (row["back-maj:min"] or "").strip(),
        )
        for row in json.loads(listing)["loopdevices"]
    ]


def loops() -> list[Loop]:
    """Return all loop devices in use on the host, its nodes' own included."""
    # losetup knows nothing of a device without a node, such as one made in a node.
    for used in Path("/sys/block").glob("loop*/loop"):
        _make_node(Path("/dev", used.parent.name))
    columns = "NAME,BACK-FILE,BACK-MAJ:MIN"
    return parse_loops(stdout_of(["losetup", "--list", "--json", "--output", columns]))


def make_disk(file: Path) -> Path:
    """Make a sparse file and return the loop device on it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as disk:
        disk.truncate(DISK_SIZE)
    return attach(file)


def attach(file: Path) -> Path:
    """Return a new loop device on a file."""
    command = ["losetup", "--find", "--show", "--nooverlap", str(file)]
    done = run(command, check=False)
    if done.returncode != 0:
        # Where nothing makes device nodes by itself losetup finds a free number
        # but no node for it, and says "(lost)" behind the name.
        _make_node(Path(stdout_of(["losetup", "--find"]).split()[0]))
        done = run(command)
    return Path(done.stdout.strip())


def _make_node(device: Path) -> None:
    if not device.exists():
        number = int(device.name.removeprefix("loop"))
        os.mknod(device, stat.S_IFBLK | 0o660, os.makedev(LOOP_MAJOR, number))


def detach(devices: Iterable[Path]) -> None:
    """Take loop devices off their files."""
    for device in devices:
        _make_node(device)
        run(["losetup", "--detach", device], check=False)


def loops_below(folder: Path) -> list[Path]:
    """Return the loop devices on files below a folder."""
    prefix = f"{folder}/"
    return [loop.device for loop in loops() if loop.backing.startswith(prefix)]


def loops_on(backing_devices: set[str]) -> list[Path]:
    """Return the loop devices on files of file systems given as "major:minor".

    Also those on a file that was a mount by itself in a node and whose server died
    with the node: nothing tells of which it was, and it is of no use to anybody.
    """
    if not backing_devices:
        return []
    return [
        loop.device
        for loop in loops()
        if loop.backing_device in backing_devices
        or (loop.backing == "/" and not loop.backing_device)
    ]
