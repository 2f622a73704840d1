"""A control group per node, so that each node's systemd has a tree of its own.

They also tell which processes are a node's, whatever becomes of their parents.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from .errors import LabError
from .mounts import Mount, mounts_of
from .paths import CGROUP_NAME

KILL_PATIENCE = 20.0

BUILDS = "_builds"
"""The group of what is no lab; no lab can have this name."""


def hierarchies(mounts: list[Mount]) -> list[Path]:
    """Return where systemd's hierarchies are mounted, on new and old hosts alike."""
    found = []
    for mount in mounts:
        named = mount.kind == "cgroup" and "name=systemd" in mount.options
        if mount.kind == "cgroup2" or named:
            found.append(mount.point)
    return found


def groups(*names: str) -> list[Path]:
    """Return the control group of that name in each hierarchy."""
    return [top.joinpath(CGROUP_NAME, *names) for top in hierarchies(mounts_of())]


def enter(*names: str) -> None:
    """Move this process into a control group, made if need be."""
    for group in groups(*names):
        for last_try in (False, False, True):
            try:
                group.mkdir(parents=True, exist_ok=True)
                (group / "cgroup.procs").write_text(str(os.getpid()))
                break
            except FileNotFoundError:
                # Another lab has just gone and taken the common parent with it.
                if last_try:
                    raise


def processes(*names: str) -> set[int]:
    """Return the processes in a control group and in those below it."""
    found: set[int] = set()
    for group in groups(*names):
        for folder in _folders(group):
            try:
                listing = (folder / "cgroup.procs").read_text()
            except OSError:
                continue
            found.update(int(word) for word in listing.split())
    # 0 stands for a process that this PID namespace does not see.
    return found - {0, os.getpid()}


def kill_all(*names: str) -> None:
    """Kill all processes of a control group and see them gone."""
    deadline = time.monotonic() + KILL_PATIENCE
    while found := processes(*names):
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise LabError(f"processes do not die: {sorted(found)}")
        time.sleep(0.02)


def remove(*names: str) -> None:
    """Remove a control group and those below it, all without processes."""
    for group in groups(*names):
        for folder in _folders(group):
            _remove_folder(folder)


def remove_if_unused() -> None:
    """Remove the common groups that have no others in them."""
    for group in (*groups(BUILDS), *groups()):
        with contextlib.suppress(OSError):
            group.rmdir()


def _folders(group: Path) -> list[Path]:
    """Return a group and those below it, the lowest first, as far as they exist.

    Unlike Path.glob this does not mind that groups come and go.
    """
    return [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]


def _remove_folder(folder: Path) -> None:
    deadline = time.monotonic() + 2
    while folder.is_dir():
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as err:
            # Killed processes count until the kernel has buried them.
            if time.monotonic() > deadline:
                raise LabError(f"{folder}: {err.strerror}") from err
            time.sleep(0.02)
