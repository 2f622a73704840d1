"""What systemd-nspawn itself keeps of its machines on the host."""

import shutil
from pathlib import Path

# It does not remove them when it is killed, or where /run is no tmpfs.
FOLDERS = ("propagate", "unix-export")


def forget_machine(name: str) -> None:
    """Remove what is left of a machine that has ended."""
    for folder in FOLDERS:
        left = Path("/run/systemd/nspawn") / folder / name
        shutil.rmtree(left, ignore_errors=True)
