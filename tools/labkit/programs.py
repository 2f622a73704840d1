"""The only caller of programs on the host."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CommandError, LabError

DEFAULT_TIMEOUT = 60.0


def run(
    args: Sequence[str | Path],
    *,
    check: bool = True,
    stdin: str | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return it with its output as text."""
    words = [str(arg) for arg in args]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
            check=False,
        )
    except FileNotFoundError as err:
        raise LabError(f"{words[0]}: no such program") from err
    except subprocess.TimeoutExpired as err:
        raise LabError(f"{' '.join(words)}: no end after {timeout:.0f} s") from err
    if check and done.returncode != 0:
        raise CommandError(words, done.returncode, done.stderr or done.stdout)
    return done


def stdout_of(args: Sequence[str | Path], *, timeout: float = DEFAULT_TIMEOUT) -> str:
    """Run a program and return what it printed."""
    return run(args, timeout=timeout).stdout
