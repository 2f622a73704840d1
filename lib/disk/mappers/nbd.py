"""rbd-nbd: librbd in a process of its own behind the kernel's nbd driver."""

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ganeti_ceph.disk import uri
from ganeti_ceph.disk.mappers import base, use
from ganeti_ceph.disk.mappers.base import Mapped
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import Runner

#: Seconds that a device may take to let go of its image.
_PATIENCE = 15


class Nbd:
    """Maps images through rbd-nbd."""

    name: ClassVar[Mapper] = Mapper.NBD

    def mapped(self, run: Runner) -> Iterator[Mapped]:
        """Give the images that rbd-nbd has, but no snapshots."""
        # It reads its processes' command lines better than anybody else could; but
        # most nodes have none.
        if not shutil.which("rbd-nbd") or not any(_connected("nbd*")):
            return
        listing = run(["rbd-nbd", "list-mapped", "--format", "json"], timeout=10)
        for row in json.loads(listing):
            if row["snap"] in ("", "-"):
                parts = (row["pool"], row.get("namespace"), row["image"])
                yield Mapped(
                    "/".join(part for part in parts if part),
                    row["device"],
                    conf=_conf(row["id"]),
                )

    def check(self, volume: Volume, features: Sequence[str], run: Runner) -> None:
        """Look for the program and the driver; librbd knows all features."""
        if not shutil.which("rbd-nbd"):
            raise ExecError("the program rbd-nbd is not installed")
        base.need_driver(base.SYS / "module/nbd", "nbd", run)

    def map(self, volume: Volume, seconds: int, run: Runner) -> str:
        """Start an rbd-nbd, which goes on in the background."""
        command = ["rbd-nbd", "map", str(volume)]
        command += ["--id", volume.user, "--conf", volume.conf]
        command += ["--client_mount_timeout", str(seconds)]
        try:
            return run(command, timeout=seconds + 2).strip()
        except ExecError as err:
            raise ExecError(base.said(err)) from None

    def unmap(self, volume: Volume, run: Runner) -> None:
        """End the rbd-nbd of an image."""
        for mapped in self.mapped(run):
            if mapped.is_of(volume):
                # It would disconnect a mounted file system, too.
                use.check(mapped.device)
                try:
                    run(["rbd-nbd", "unmap", mapped.device], timeout=_PATIENCE)
                except ExecError as err:
                    raise ExecError(base.said(err)) from None
                _await_end(mapped.device)

    def resized(self, volume: Volume, size: int, run: Runner) -> None:
        """Do nothing: rbd-nbd watches the image."""


def _connected(name: str) -> Iterator[object]:
    return (base.SYS / "block").glob(f"{name}/pid")


def _await_end(device: str) -> None:
    end = time.monotonic() + _PATIENCE
    while any(_connected(device.removeprefix("/dev/"))):
        if time.monotonic() > end:
            raise ExecError(f"{device} is still connected after {_PATIENCE} s")
        time.sleep(0.1)


def _conf(process: int) -> str:
    """Return the configuration file that an rbd-nbd was started with."""
    line = base.read(base.PROC / str(process) / "cmdline") or ""
    words = [part for word in line.split("\0") for part in word.split("=", 1)]
    for option, value in itertools.pairwise(words):
        if option in ("--conf", "-c"):
            return value
        if option == "--cluster":
            return f"/etc/ceph/{value}.conf"
    return uri.CONF
