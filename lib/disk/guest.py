"""How Ganeti's KVM hypervisor hands a disk to QEMU."""

from collections.abc import Callable
from typing import Any

from ganeti_ceph.disk import uri


def parse_uri(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Take every image that Ceph can name, where Ganeti takes few letters only."""
    (text,) = args
    volume = uri.parse(text)
    return wrapped(*args, **kwargs) if volume is None else volume.blockdev()
