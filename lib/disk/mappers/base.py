"""What the mappers have in common."""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from ganeti_ceph import cephconf
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import Runner

SYS = Path("/sys")
PROC = Path("/proc")
DEV = Path("/dev")


@dataclasses.dataclass(frozen=True)
class Mapped:
    """An image that is mapped, by its name as Ceph's programs take it.

    ``conf`` or ``fsid`` tell of which storage cluster it is; what the mapper does
    not know is empty.
    """

    image: str
    device: str
    conf: str = ""
    fsid: str = ""

    def is_of(self, volume: Volume) -> bool:
        """Tell whether this is the image of a volume."""
        if self.image != str(volume):
            return False
        if self.conf:
            return self.conf == volume.conf
        fsid = cephconf.read_fsid(read(Path(volume.conf)) or "")
        return not fsid or not self.fsid or fsid == self.fsid


class MapperRow(Protocol):
    """One way to make a block device of an image.

    Only one process at a time works at an image.
    """

    name: ClassVar[Mapper]

    def mapped(self, run: Runner) -> Iterator[Mapped]:
        """Give what is mapped this way on this node; Ceph is not asked."""

    def check(self, volume: Volume, features: Sequence[str], run: Runner) -> None:
        """Raise :class:`ExecError` where it cannot work, or not with such an image."""

    def map(self, volume: Volume, seconds: int, run: Runner) -> str:
        """Map an image that is not mapped; return the device's path.

        What fails, after so many seconds at the latest, leaves nothing behind.
        """

    def unmap(self, volume: Volume, run: Runner) -> None:
        """Unmap an image, and take away what a killed process left of it."""

    def resized(self, volume: Volume, size: int, run: Runner) -> None:
        """Have the device show the image's new size, which is in bytes."""


def read(path: Path) -> str | None:
    """Return the text of a file of the kernel's, None if it is not there any more."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def need_driver(path: Path, module: str, run: Runner) -> None:
    """Raise :class:`ExecError` unless the kernel has a driver, or can load it."""
    if path.exists():
        return
    try:
        run(["modprobe", module], timeout=10)
    except ExecError:
        raise ExecError(f"this node's kernel has no {module} driver") from None


def said(err: ExecError) -> str:
    """Return what a program said when it failed, without its command line."""
    text = str(err)
    if late := re.match(r"\S+ did not end within \d+ s", text):
        return late[0]
    # rbd-nbd says nothing at all of an image that does not exist.
    return (
        re.sub(r"^.*? failed with exit code \d+: ", "", text, flags=re.DOTALL) or text
    )


def wait(seconds: float, reached: Callable[[], bool], what: str) -> None:
    """Wait until something shows the size that it shall have."""
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise ExecError(f"{what} does not show the new size after {seconds:.0f} s")
        time.sleep(0.02)
