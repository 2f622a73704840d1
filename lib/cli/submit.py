"""Submitting the extension's operations as jobs, and printing what comes back."""

from typing import Any, cast

from ganeti import cli, opcodes
from ganeti import errors as ganeti_errors

from ganeti_ceph import errors
from ganeti_ceph.jobs import command


def as_ganeti_error(err: errors.Error) -> Exception:
    """Return an error of bad input or state as Ganeti's programs print theirs."""
    usage = isinstance(err, errors.UsageError)
    code = ganeti_errors.ECODE_INVAL if usage else ganeti_errors.ECODE_STATE
    return cast(Exception, ganeti_errors.OpPrereqError(str(err), code))


def submit(opts: Any, operation: str, **options: str) -> list[str]:
    """Run an operation as a job, showing its progress; return the lines it gave.

    With ``--submit`` Ganeti's own exception ends the program instead.
    """
    op = opcodes.OpRestrictedCommand(
        nodes=[], use_locking=False, command=command.render(operation, **options)
    )
    result = cli.SubmitOrSend(op, opts)
    return [text for _, text in result or []]
