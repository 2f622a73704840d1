"""Instances of the lab's guest, and what is true of their disks."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import TOOL, Result, TestLab

_INSIDE = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
_PYTHON = ("/usr/bin/python3", "-c", _INSIDE)
_RUN = "/var/run/ganeti/kvm-hypervisor"


def look(lab: TestLab, node: str, *words: str) -> Any:
    """Run a command of inside.py in a node and return its answer."""
    return json.loads(lab.run(node, [*_PYTHON, *words]).stdout)


@contextlib.contextmanager
def hold(
    lab: TestLab,
    node: str,
    image: str,
    pool: str = "rbd",
    there: Sequence[str] = (),
) -> Iterator[None]:
    """Have an image open in a node, or where other words take a command in it."""
    with _start(lab, node, "hold", pool, image, there=there) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()
        holder.wait()
    assert holder.returncode == 0, "it lost the image"


@contextlib.contextmanager
def soiled(lab: TestLab, count: int, pool: str = "rbd") -> Iterator[list[str]]:
    """Have images that are made or grown in the block not empty at their end.

    The list has their names after the block.
    """
    names: list[str] = []
    with _start(lab, "node1", "soil", pool, str(count)) as soiler:
        assert soiler.stdout and soiler.stdout.readline() == "looking\n"
        yield names
        told = soiler.stdout.read()
    assert soiler.returncode == 0, "nothing was made or grown"
    names += json.loads(told)


def _start(
    lab: TestLab, node: str, *words: str, there: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a command of inside.py in a node."""
    command = [str(TOOL), "run", "--name", lab.name, node, "--"]
    command += [*there, *_PYTHON, *words]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def images(lab: TestLab, pool: str = "rbd") -> dict[str, int]:
    """Return a pool's images and their sizes in mebibytes."""
    found: dict[str, int] = look(lab, "node1", "images", pool)
    return found


@dataclass(frozen=True)
class Written:
    """What a guest has on a disk: of which boot, how far, and how sound."""

    disk: str
    beat: int
    verdict: str
    #: How many blocks of data it wrote, and how many of them are as they were.
    blocks: int
    whole: int


@dataclass(frozen=True)
class Guest:
    """An instance of the lab's guest with disks in the storage cluster."""

    lab: TestLab
    name: str
    pool: str = "rbd"
    #: The node where Ganeti's commands run.
    master: str = "node1"

    def gnt(
        self, command: str, *after: str, check: bool = True, timeout: float = 240
    ) -> Result:
        """Run gnt-instance: a command with its options, the name, what comes after."""
        words = ["gnt-instance", *command.split(), self.name, *after]
        return self.lab.run(self.master, words, check=check, timeout=timeout)

    def node(self) -> str:
        """Return the node that it is on."""
        shown = self.gnt("list --no-headers -o pnode").stdout
        return shown.strip().partition(".")[0]

    def images(self) -> list[str]:
        """Return its disks' images, in the disks' order."""
        found: list[str] = look(self.lab, self.master, "disks", self.name)
        return found

    def written(self, boot: int, beat: int = 0, disk: int = 0) -> Written:
        """Return what it has on a disk, once it is of this boot and after this beat."""
        words = [self.pool, self.images()[disk], str(boot), str(beat), "90"]
        return Written(**look(self.lab, self.master, "written", *words))

    @property
    def survives_migration(self) -> bool:
        """Whether it surely runs on after a migration.

        Where QEMU 7.2 emulates the processor about one in ten does not, live or
        paused, on a plain file as well; QEMU 10 has not shown that.
        """
        return self.lab.release != "bookworm"

    def watchers(self, disk: int = 0) -> list[str]:
        """Return the addresses of those who have a disk open."""
        found: list[str] = look(
            self.lab, self.master, "watchers", self.pool, self.images()[disk]
        )
        return found

    def pid(self) -> str:
        """Return the number of its QEMU on its node."""
        return self.lab.run(self.node(), f"cat {_RUN}/pid/{self.name}").stdout.strip()

    def arguments(self) -> list[str]:
        """Return the command line of its QEMU."""
        line = f"cat /proc/{self.pid()}/cmdline"
        return self.lab.run(self.node(), line).stdout.split("\0")

    def runtime(self) -> str:
        """Return what Ganeti keeps of how it was started."""
        return self.lab.run(
            self.node(), ["cat", f"{_RUN}/conf/{self.name}.runtime"]
        ).stdout

    def block_devices(self) -> list[Any]:
        """Return what QEMU says of its disks, one after the other."""
        socket = f"{_RUN}/ctrl/{self.name}.qmp"
        found = look(self.lab, self.node(), "query", socket, "query-block")
        return [one["inserted"]["image"] for one in found if "inserted" in one]
