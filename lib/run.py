"""The only caller of programs."""

import os
import subprocess
from collections.abc import Sequence
from typing import Protocol

from ganeti_ceph import errors


class Runner(Protocol):
    """What runs a program for a caller: :func:`run`, or a fake in a test."""

    def __call__(
        self, argv: Sequence[str], *, timeout: float = 60, ok: Sequence[int] = (0,)
    ) -> str: ...


def run(argv: Sequence[str], *, timeout: float = 60, ok: Sequence[int] = (0,)) -> str:
    """Run a program to its end and return what it printed on standard output.

    ``timeout`` is in seconds; ``ok`` are the exit codes that are no failure.
    Raises :class:`errors.ExecError` with the last lines of standard error.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise errors.ExecError(f"the program {argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise errors.ExecError(
            f"{argv[0]} did not end within {timeout:.0f} s: {' '.join(argv)}"
        ) from None
    if done.returncode not in ok:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise errors.ExecError(
            f"'{' '.join(argv)}' failed with exit code {done.returncode}: "
            + "; ".join(line.strip() for line in output[-3:])
        )
    return done.stdout
