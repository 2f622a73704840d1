"""The client with which Ganeti calls its nodes.

A module of its own, because each of Ganeti's jobs loads it.
"""

from collections.abc import Callable
from typing import Any


def configure(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Set up Ganeti's client: lost nodes are noticed, and only Ganeti is trusted.

    A call ends where its node is cut off or loses its power while it works.  Nothing
    comes from a node that works at a long step, so silence tells nothing: the kernels
    ask each other.  Linux gives up after nine questions.

    Ganeti names its own certificate as the only authority, but libcurl reads the
    system's as well, for each call: all public authorities, and some 50 ms of CPU.
    """
    # Only here: it is Ganeti's client's, which the nodes' programs do not load.
    import pycurl

    result = wrapped(*args, **kwargs)
    curl = args[0] if args else kwargs["curl"]
    curl.setopt(pycurl.TCP_KEEPALIVE, 1)
    curl.setopt(pycurl.TCP_KEEPIDLE, 15)
    curl.setopt(pycurl.TCP_KEEPINTVL, 5)
    curl.unsetopt(pycurl.CAPATH)
    return result
