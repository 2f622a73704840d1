"""A throwaway copy of a node image to build and test in."""

import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import cgroups
from .image import LINT_HOME
from .locks import free_lock
from .machines import forget_machine
from .mounts import overlay, unmount_below
from .paths import cache_root

PATH = f"/{LINT_HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD = "build"


class Sandbox:
    """A root file system to run programs in, without network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"
        self._machine = folder.name.strip(".")

    @property
    def _cgroup(self) -> tuple[str, str]:
        return cgroups.BUILDS, self._machine

    def run(self, script: str, *, output: Path | None = None) -> int:
        """Run a shell script in the build folder; return its exit code."""
        command = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self.root}",
            f"--machine={self._machine}",
            "--as-pid2",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--pipe",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            f"--chdir=/{BUILD}",
            f"--setenv=PATH={PATH}",
            "--setenv=LC_ALL=C.UTF-8",
            "sh",
            "-ec",
            script,
        ]
        sink = output.open("wb") if output else None
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT if sink else None,
                preexec_fn=lambda: cgroups.enter(*self._cgroup),
                check=False,
            )
        finally:
            if sink:
                sink.close()
        return done.returncode

    def close(self) -> None:
        """End what still runs and remove all files."""
        cgroups.kill_all(*self._cgroup)
        cgroups.remove(*self._cgroup)
        cgroups.remove_if_unused()
        forget_machine(self._machine)
        unmount_below(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def sandbox(image: Path) -> Iterator[Sandbox]:
    """Make a sandbox over an image, and remove it afterwards."""
    remove_abandoned()
    # Also the machine's name, which tempfile's names cannot always be.
    folder = cache_root() / f".sandbox-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    # The lock tells a sandbox in use from one whose maker was killed.
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    box = Sandbox(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        upper = folder / "upper"
        (upper / BUILD).mkdir(parents=True)
        upper.chmod(0o755)
        overlay(box.root, [image], upper, folder / "work")
        yield box
    finally:
        box.close()
        os.close(lock)


def remove_abandoned() -> None:
    """Remove the sandboxes whose makers were killed."""
    for folder in cache_root().glob(".sandbox-*"):
        with free_lock(folder) as free:
            if free:
                Sandbox(folder).close()
