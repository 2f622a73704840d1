"""Overlays, and what is mounted where."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .programs import run

UNMOUNT_PATIENCE = 10.0


@dataclass(frozen=True)
class Mount:
    """One line of a process's mountinfo."""

    device: str
    point: Path
    kind: str
    options: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Return the mounts in a /proc/PID/mountinfo, in order of mounting."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        kind, _, rest = right.partition(" ")
        # Octal escapes stand for the blanks in a name.
        point = fields[4].encode().decode("unicode_escape")
        mounts.append(Mount(fields[2], Path(point), kind, rest))
    return mounts


def mounts_of(process: int | str = "self") -> list[Mount]:
    """Return what a process sees mounted; nothing if the process is gone."""
    try:
        return parse_mountinfo(Path(f"/proc/{process}/mountinfo").read_text())
    except OSError:
        return []


def overlay(target: Path, lowers: Sequence[Path], upper: Path, work: Path) -> None:
    """Mount an overlay; the first of the lower layers is the topmost."""
    for folder in (target, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    layers = ":".join(str(lower) for lower in lowers)
    options = f"lowerdir={layers},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "-o", options, "overlay", target])


def unmount_below(folder: Path) -> None:
    """Unmount all that is mounted at or below a folder."""
    deadline = time.monotonic() + UNMOUNT_PATIENCE
    while points := [m.point for m in mounts_of() if m.point.is_relative_to(folder)]:
        # The processes in a file system may still be dying: try again for a
        # while, and in the end take it out of sight.
        late = time.monotonic() > deadline
        lazy = ["--lazy"] if late else []
        failed = [
            point
            for point in reversed(points)
            if run(["umount", *lazy, point], check=False).returncode != 0
        ]
        if failed and late:
            raise LabError(f"{failed[0]}: cannot be unmounted")
        if failed:
            time.sleep(0.1)
