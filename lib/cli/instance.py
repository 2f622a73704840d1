"""What ``gnt-instance`` gets: parameters for disks that become rbd."""

import functools
from collections.abc import Callable
from typing import Any

from ganeti import constants

#: What ``-e`` gave, on its way through a function of Ganeti's that we do not have.
_given: dict[str, Any] = {}


def extend_commands(commands: dict[str, Any]) -> None:
    """Wrap ``gnt-instance modify``."""
    function, *rest = commands["modify"]
    commands["modify"] = (functools.partial(modify, function), *rest)


def modify(stock: Callable[[Any, list[str]], Any], opts: Any, names: list[str]) -> Any:
    """Take ``-e`` with ``-t rbd``, too; Ganeti would refuse all but ``-t ext``."""
    if opts.disk_template == constants.DT_RBD:
        _given.update(opts.ext_params)
        opts.ext_params = {}
    return stock(opts, names)


def send_parameters(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Return what the job is sent for ``-e``; the job checks it."""
    if not _given:
        return wrapped(*args, **kwargs)
    given = dict(_given)
    _given.clear()
    return given
