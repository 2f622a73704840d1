"""The name of an image, and the forms in which QEMU takes it."""

import dataclasses
import re

from ganeti_ceph.errors import UsageError

# QEMU's texts give a meaning to ':', '/', '@', '\' and ',', and Ganeti escapes none
# of them on its way there; blanks would break a command of the monitor.
_NAME = re.compile(r"[^\s:/@\\,\"'=]+")


@dataclasses.dataclass(frozen=True)
class Volume:
    """An image in a pool; its names can be written in every form given here."""

    pool: str
    image: str

    def __post_init__(self) -> None:
        for kind, name in (("pool", self.pool), ("image", self.image)):
            if not _NAME.fullmatch(name) or not name.isprintable():
                raise UsageError(
                    f"the {kind} name {name!r} cannot be handed to QEMU; use one of"
                    " letters, digits, '.', '_' and '-'"
                )

    def __str__(self) -> str:
        return f"{self.pool}/{self.image}"

    def uri(self) -> str:
        """Return the name that Ganeti hands on.

        >>> Volume("rbd", "web.rbd.disk0").uri()
        'rbd:rbd/web.rbd.disk0'
        """
        return f"rbd:{self}"

    def blockdev(self) -> dict[str, str]:
        """Return the name as the options of QEMU's block driver.

        >>> Volume("my-pool", "web.rbd.disk0").blockdev()
        {'driver': 'rbd', 'pool': 'my-pool', 'image': 'web.rbd.disk0'}
        """
        return {"driver": "rbd", "pool": self.pool, "image": self.image}


def parse(uri: str) -> Volume | None:
    """Return the volume that a URI of :meth:`Volume.uri` names, None for any other."""
    pool, slash, image = uri.removeprefix("rbd:").partition("/")
    if not uri.startswith("rbd:") or not slash:
        return None
    try:
        return Volume(pool, image)
    except UsageError:
        return None
