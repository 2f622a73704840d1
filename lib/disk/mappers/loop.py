"""Loop devices."""

import contextlib
import os
import re
import stat
import time
from pathlib import Path

from ganeti_ceph.disk.mappers import base, use
from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import Runner

_MAJOR = 7
#: How often to look for a free device; others may take it before us.
_TRIES = 5
#: Seconds that a device may take to let go of its file, and longer than it takes to
#: say that there is no free one.
_PATIENCE = 5


def attach(file: Path, run: Runner) -> str:
    """Return a new loop device on a file."""
    # Without the page cache of the loop device nothing is kept twice.  Where the file
    # does not do this, the kernel goes without.
    command = ["losetup", "--find", "--show", "--direct-io=on", str(file)]
    for left in reversed(range(_TRIES)):
        end = time.monotonic() + _PATIENCE
        try:
            return run(command, timeout=25).strip()
        except ExecError as err:
            if not left or time.monotonic() > end:
                raise ExecError(base.said(err)) from None
        # Its node may be missing, or another one has taken it in the meantime.
        _make_node(run)
    raise AssertionError


def detach(device: str, run: Runner) -> None:
    """Take a loop device off its file; refuse while something uses it."""
    use.check(device)
    run(["losetup", "--detach", device], timeout=25)
    # One that was opened since then keeps its file until it is closed.
    end = time.monotonic() + _PATIENCE
    while (_sysfs(device) / "loop/backing_file").exists():
        if time.monotonic() > end:
            raise ExecError(f"{device} is in use: {use.by_whom(device) or 'unknown'}")
        time.sleep(0.02)


def identity(device: str) -> str:
    """Return what tells this use of a loop device from earlier and later ones."""
    name = Path(device).name
    return f"{name} {base.read(_sysfs(device) / 'diskseq')}"


def has(device: str, file: Path) -> bool:
    """Tell whether a loop device is on a file, and will be when nobody has it open."""
    sysfs = _sysfs(device) / "loop"
    on = base.read(sysfs / "backing_file") == str(file)
    return on and base.read(sysfs / "autoclear") != "1"


def on(file: Path) -> list[str]:
    """Return the loop devices on a file, by its path alone."""
    names = [
        sysfs.parent.parent.name
        for sysfs in sorted((base.SYS / "block").glob("loop*/loop/backing_file"))
        if base.read(sysfs) == str(file)
    ]
    # What another container made has no device node here.
    return [f"/dev/{name}" for name in names if (base.DEV / name).exists()]


def grow(device: str, run: Runner) -> None:
    """Have a loop device show the size that its file has now."""
    run(["losetup", "--set-capacity", device], timeout=25)


def _sysfs(device: str) -> Path:
    return base.SYS / "block" / Path(device).name


def _make_node(run: Runner) -> None:
    """Make the node of the next free device where nothing else does, in containers."""
    found = re.match(r"/dev/(loop(\d+))\b", run(["losetup", "--find"], timeout=25))
    if found:
        device = os.makedev(_MAJOR, int(found[2]))
        with contextlib.suppress(FileExistsError):
            os.mknod(base.DEV / found[1], stat.S_IFBLK | 0o660, device)
