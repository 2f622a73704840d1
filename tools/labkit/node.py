"""A node: a machine of its own with systemd, in a systemd-nspawn container."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cgroups
from .disks import LOOP_MAJOR
from .errors import LabError
from .mounts import mounts_of, overlay
from .network import DOMAIN, hosts_file
from .paths import TREE, LabPaths

BOOT_PATIENCE = 90.0
DEATH_PATIENCE = 20.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What systemctl calls a machine that has finished booting.
BOOTED = {"running", "degraded"}


@dataclass(frozen=True)
class Node:
    """One node of a lab."""

    paths: LabPaths
    number: int

    @property
    def name(self) -> str:
        """The short name, as used on the lab's command line."""
        return f"node{self.number}"

    @property
    def fqdn(self) -> str:
        """The name that Ganeti knows the node by."""
        return f"{self.name}.{DOMAIN}"

    @property
    def run_folder(self) -> Path:
        """Where the mounted root, the namespace and the logs are."""
        return self.paths.run / self.name

    @property
    def root(self) -> Path:
        """The mounted root file system."""
        return self.run_folder / "root"

    @property
    def upper(self) -> Path:
        """What the node has written."""
        return self.paths.data / self.name / "upper"

    @property
    def namespace(self) -> Path:
        """The network namespace."""
        return self.run_folder / "net"

    @property
    def console(self) -> Path:
        """What the node prints while it boots."""
        return self.run_folder / "console.log"

    @property
    def cut_mark(self) -> Path:
        """Exists while the node is cut off from the network."""
        return self.run_folder / "cut"

    @property
    def disks_file(self) -> Path:
        """The node's loop devices, one a line, first disk first."""
        return self.run_folder / "disks"

    @property
    def devices_file(self) -> Path:
        """The file systems that were mounted in the node, as "major:minor"."""
        return self.run_folder / "devices"

    @property
    def machine(self) -> str:
        """The name that systemd-nspawn and the host's tools show."""
        return f"{self.paths.name}-{self.name}"

    @property
    def group(self) -> tuple[str, str]:
        """The node's control group."""
        return self.paths.name, self.name

    @property
    def keeper_group(self) -> tuple[str, str]:
        """The control group of the process that keeps the node running."""
        return self.paths.name, f"{self.name}-keeper"

    def prepare(
        self, lowers: Sequence[Path], disks: Sequence[Path], nodes: int
    ) -> None:
        """Make the node's root file system from layers, the topmost first."""
        etc = self.upper / "etc"
        (etc / "tmpfiles.d").mkdir(parents=True)
        (etc / "hostname").write_text(f"{self.fqdn}\n")
        (etc / "hosts").write_text(hosts_file(nodes))
        # systemd makes one up at the first boot.
        (etc / "machine-id").write_text("")
        (etc / "tmpfiles.d/lab-disks.conf").write_text(disk_rules(disks))
        self.upper.chmod(0o755)
        overlay(self.root, lowers, self.upper, self.upper.with_name("work"))
        self.disks_file.write_text("".join(f"{disk}\n" for disk in disks))

    def disks(self) -> list[Path]:
        """Return the node's loop devices."""
        return [Path(line) for line in self.disks_file.read_text().splitlines()]

    def start(self) -> None:
        """Have the node started by a keeper, which outlives this process."""
        if self.keepers():
            raise LabError(f"{self.name} is already running")
        with (self.run_folder / "keeper.log").open("ab") as log:
            subprocess.Popen(
                [
                    *(sys.executable, TREE / "tools/lab", "_keep"),
                    *(f"--name={self.paths.name}", self.name),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                # Entered before this returns, so that nobody can miss it.
                preexec_fn=lambda: cgroups.enter(*self.keeper_group),
            )

    def keepers(self) -> set[int]:
        """Return the keeper's process, if there is one."""
        return cgroups.processes(*self.keeper_group)

    def leader(self) -> int | None:
        """Return the node's first process as the host numbers it."""
        for process in sorted(cgroups.processes(*self.group)):
            if _number_inside(process) == 1:
                return process
        return None

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the host's command that runs a command in the node."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.name} is not running")
        return [
            "nsenter",
            f"--target={leader}",
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"),
            "--wdns=/root",
            *("env", "-i", f"PATH={PATH}", "HOME=/root", "USER=root", "LOGNAME=root"),
            *("SHELL=/bin/bash", "LANG=C.UTF-8"),
            f"TERM={os.environ.get('TERM', 'dumb')}",
            *words,
        ]

    def call(
        self, words: Sequence[str], *, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node; return it with its output."""
        return subprocess.run(
            self.command(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            preexec_fn=self.enter_group,
            check=False,
        )

    def stream(self, words: Sequence[str]) -> int:
        """Run a command in the node on our own input and output."""
        child = subprocess.Popen(self.command(words), preexec_fn=self.enter_group)
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()

    def enter_group(self) -> None:
        """Move this process to the node's processes, so that it dies with them."""
        cgroups.enter(*self.group, "payload", "lab-run")

    def wait_until_up(self, *, but: int | None = None) -> None:
        """Wait until the node has booted, as another leader than the given one."""
        deadline = time.monotonic() + BOOT_PATIENCE
        begun = False
        while time.monotonic() < deadline:
            leader = self.leader()
            if leader is not None and leader != but:
                begun = True
                try:
                    state = self.call(
                        ["systemctl", "is-system-running", "--wait"], timeout=30
                    ).stdout
                except (LabError, subprocess.TimeoutExpired):
                    state = ""
                if state.strip() in BOOTED:
                    return
            elif begun and not self.keepers():
                break
            time.sleep(0.1)
        raise LabError(f"{self.name} did not come up: see {self._keep_console()}")

    def _keep_console(self) -> Path:
        # A failed "up" removes all files of the lab but this one.
        copy = Path("/tmp") / f"{self.machine}-console.log"
        if self.console.exists():
            copy.write_bytes(self.console.read_bytes())
        return copy

    def cut_power(self) -> None:
        """Kill all processes at once."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.name} is not running")
        note_devices(self)
        os.kill(leader, signal.SIGKILL)
        deadline = time.monotonic() + DEATH_PATIENCE
        while self.keepers():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} does not die")
            time.sleep(0.05)


def disk_rules(disks: Sequence[Path]) -> str:
    """Return what systemd-tmpfiles does for the disks when the node boots.

    The node has device nodes of its own, as it changes their owners; their numbers
    differ from one start of the lab to the next, the links do not.
    """
    lines = []
    for number, disk in enumerate(disks, start=1):
        minor = disk.name.removeprefix("loop")
        lines += [
            f"b+ {disk} 0660 root disk - {LOOP_MAJOR}:{minor}\n",
            f"L+ /dev/disk/by-id/lab-disk-{number} - - - - ../../{disk.name}\n",
        ]
    return "".join(lines)


def note_devices(node: Node) -> None:
    """Write down which file systems exist in the node and not outside.

    Loop devices that the node itself made are on files of these. The kernel keeps
    them when the node dies; a real machine would not.  Former file systems are left
    out: the kernel gives their numbers to those of other labs.
    """
    leader = node.leader()
    if leader is None:
        return
    outside = {mount.device for mount in mounts_of() if mount.point != node.root}
    seen = {mount.device for mount in mounts_of(leader)}
    if not seen:
        # It just died; what was noted of it is still needed.
        return
    inside = seen - outside
    if inside != noted_devices(node):
        node.devices_file.write_text("\n".join(sorted(inside)))


def noted_devices(node: Node) -> set[str]:
    """Return what was written down about a node's file systems."""
    try:
        return set(node.devices_file.read_text().split())
    except FileNotFoundError:
        return set()


def _number_inside(process: int) -> int | None:
    """Return a process's number in the innermost PID namespace, if it has another."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return int(numbers[-1]) if len(numbers) > 1 else None
    return None
