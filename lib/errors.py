"""The roots of everything that the extension raises, and their exit codes.

A message is written for the administrator: what went wrong, where, and what to do.
"""

from typing import ClassVar


class Error(Exception):
    """Anything that the extension reports to its user."""

    #: What a program ends with, in Ganeti's numbering (``constants.EXIT_FAILURE``).
    exit_code: ClassVar[int] = 1


class UsageError(Error):
    """The input is wrong; nothing was changed."""


class PrereqError(Error):
    """The input is right, but the present state forbids it; nothing was changed."""


class ExecError(Error):
    """Something failed while acting."""


class CephError(ExecError):
    """Ceph refused or failed; tell cases apart by ``errno``."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message, errno)
        self.errno = errno

    def __str__(self) -> str:
        return str(self.args[0])
