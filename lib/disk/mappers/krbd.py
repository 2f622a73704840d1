"""The kernel's rbd driver, which Ceph's rbd program tells what to do."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from ganeti_ceph.disk.mappers import base, use
from ganeti_ceph.disk.mappers.base import Mapped
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import Runner

#: The bits that stand for an image's features, in the kernel as in librbd.
_BITS = {
    "layering": 0,
    "striping": 1,
    "exclusive-lock": 2,
    "object-map": 3,
    "fast-diff": 4,
    "deep-flatten": 5,
    "journaling": 6,
    "data-pool": 7,
    "operations": 8,
    "migrating": 9,
    "non-primary": 10,
    "dirty-cache": 11,
}

#: What the driver's errors mean; it tells more only in the kernel's log.
_MEANINGS = {
    1: "Ceph does not let this user open the image, or has another key of it",
    2: "there is no such image, pool or namespace",
    5: "the kernel is too old for a setting of the storage cluster, or met a fault",
    6: "the kernel lacks a feature of the image",
    110: "the storage cluster does not answer",
}


class Krbd:
    """Maps images through the kernel's rbd driver."""

    name: ClassVar[Mapper] = Mapper.KRBD

    def mapped(self, run: Runner) -> Iterator[Mapped]:
        """Give the images that the driver has, but no snapshots."""
        for entry in sorted(_bus().glob("devices/*")):
            pool, image = base.read(entry / "pool"), base.read(entry / "name")
            if pool and image and base.read(entry / "current_snap") in ("-", None):
                parts = (pool, base.read(entry / "pool_ns"), image)
                yield Mapped(
                    "/".join(part for part in parts if part),
                    f"/dev/rbd{entry.name}",
                    fsid=base.read(entry / "cluster_fsid") or "",
                )

    def check(self, volume: Volume, features: Sequence[str], run: Runner) -> None:
        """Look for the driver, and whether it knows the image's features."""
        base.need_driver(_bus(), "rbd", run)
        known = base.read(_bus() / "supported_features")
        if known is None:
            return
        lacking = [
            name
            for name in features
            if name not in _BITS or not int(known, 16) >> _BITS[name] & 1
        ]
        if lacking:
            raise ExecError(
                f"the kernel cannot map images with {', '.join(lacking)}; use another"
                f" mapper or 'rbd feature disable {volume} {' '.join(lacking)}'"
            )

    def map(self, volume: Volume, seconds: int, run: Runner) -> str:
        """Have the driver map an image; the key goes from the keyring to the kernel."""
        command = ["rbd", "device", "map", str(volume)]
        command += ["--id", volume.user, "--conf", volume.conf]
        command += ["--options", f"mount_timeout={seconds}"]
        try:
            return run(command, timeout=seconds + 2).strip()
        except ExecError as err:
            number = re.search(r"map failed: \((\d+)\)", str(err))
            meaning = _MEANINGS.get(int(number[1])) if number else None
            raise ExecError(meaning or base.said(err)) from None

    def unmap(self, volume: Volume, run: Runner) -> None:
        """Have the driver unmap an image."""
        for mapped in self.mapped(run):
            if mapped.is_of(volume):
                use.check(mapped.device)
                try:
                    run(["rbd", "device", "unmap", mapped.device], timeout=25)
                except ExecError as err:
                    raise ExecError(base.said(err)) from None

    def resized(self, volume: Volume, size: int, run: Runner) -> None:
        """Do nothing: the storage cluster tells the driver."""


def _bus() -> Path:
    return base.SYS / "bus/rbd"
