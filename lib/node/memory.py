"""The node daemon's memory, all of which Ganeti locks so that it is never swapped."""

import ctypes
from collections.abc import Callable
from typing import Any

# From the kernel's include/uapi/asm-generic/mman.h.
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4


def lock(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Lock memory once it is used, not before.

    Ceph's libraries have 130 MB of which they touch next to nothing.  Ganeti's own way
    makes all of it real, and the daemon copies the tables for that at each call that
    it answers, for it answers in a process of its own.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(_CURRENT | _FUTURE | _ON_FAULT) != 0:
        # A kernel before 4.4, or no right to: Ganeti knows what to say.
        return wrapped(*args, **kwargs)
    return None
