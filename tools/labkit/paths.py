"""Where the lab keeps what on the host."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

RUN_ROOT = Path("/run/ganeti-ceph-lab")
DATA_ROOT = Path("/var/lib/ganeti-ceph-lab")
CGROUP_NAME = "ganeti-ceph-lab"

TREE = Path(__file__).resolve().parents[2]
"""The checkout whose extension goes into the nodes."""

KIT_DATA = Path(__file__).resolve().parent / "data"

# Interface, machine and directory names are made of it.
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def cache_root() -> Path:
    """Where images and other things that are slow to make are kept."""
    return Path(os.environ.get("GANETI_CEPH_LAB_CACHE", "/var/cache/ganeti-ceph-lab"))


@dataclass(frozen=True)
class LabPaths:
    """The places of one lab."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise LabError(
                f"lab name {self.name!r}: must be a lower-case letter, then up to 30 "
                "lower-case letters, digits or dashes"
            )

    @property
    def run(self) -> Path:
        """Mount points, namespaces and logs: gone when the host reboots."""
        return RUN_ROOT / self.name

    @property
    def data(self) -> Path:
        """Disks and the nodes' written files: needs a real file system."""
        return DATA_ROOT / self.name

    @property
    def state(self) -> Path:
        """What the lab was started with."""
        return self.run / "lab.json"

    @property
    def switch(self) -> Path:
        """The network namespace with the bridge that joins the nodes."""
        return self.run / "switch"
