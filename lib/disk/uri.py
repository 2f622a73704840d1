"""The name of an image, who opens it, and the forms in which QEMU takes both."""

import dataclasses
import re

from ganeti_ceph.errors import UsageError

#: Ceph's own choice of configuration file and user.
CONF = "/etc/ceph/ceph.conf"
USER = "admin"

#: The user of our own storage cluster that opens the instances' disks.
DISK_USER = "ganeti"

# QEMU's texts give a meaning to ':', '/', '@', '\' and ',', and Ganeti escapes none
# of them on its way there; blanks would break a command of the monitor.
_NAME = re.compile(r"[^\s:/@\\,\"'=]+")
_PATH = re.compile(r"/[A-Za-z0-9_.+/-]*[A-Za-z0-9_.+-]")


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """A pool or a namespace of one, and the Ceph user and configuration for it."""

    pool: str
    namespace: str = ""
    user: str = USER
    conf: str = CONF

    def __str__(self) -> str:
        """Return its name as Ceph's programs take it."""
        return "/".join(filter(None, (self.pool, self.namespace)))

    @property
    def client(self) -> str:
        """The full name of the Ceph user."""
        return f"client.{self.user}"

    def volume(self, image: str) -> "Volume":
        """Return an image that lies there."""
        return Volume(self.pool, image, self.namespace, self.user, self.conf)


@dataclasses.dataclass(frozen=True)
class Volume:
    """An image in a pool, and the Ceph user and configuration that open it.

    Its names can be written in every form given here; other names raise
    :class:`UsageError`.  ``namespace`` is empty where the pool's own is meant.
    """

    pool: str
    image: str
    namespace: str = ""
    user: str = USER
    conf: str = CONF

    def __post_init__(self) -> None:
        for kind, name in (
            ("pool", self.pool),
            ("image", self.image),
            ("namespace", self.namespace or "none"),
            ("user", self.user),
        ):
            if not _NAME.fullmatch(name) or not name.isprintable():
                raise UsageError(
                    f"the {kind} name {name!r} cannot be handed to QEMU; use one of"
                    " letters, digits, '.', '_' and '-'"
                )
        if not _PATH.fullmatch(self.conf):
            raise UsageError(
                f"the configuration file {self.conf!r} cannot be handed to QEMU; use"
                " an absolute path of letters, digits, '.', '_', '+' and '-'"
            )

    def __str__(self) -> str:
        """Return the image's name as Ceph's programs take it."""
        return "/".join(filter(None, (self.pool, self.namespace, self.image)))

    @property
    def client(self) -> str:
        """The full name of the Ceph user."""
        return self.place.client

    @property
    def place(self) -> "Place":
        """Where the image lies, with others."""
        return Place(self.pool, self.namespace, self.user, self.conf)

    def uri(self) -> str:
        """Return the name that Ganeti hands on.

        Other programs than QEMU read it too, some of which know no options; so it
        has none where Ceph's own choice is meant.

        >>> Volume("rbd", "web.rbd.disk0").uri()
        'rbd:rbd/web.rbd.disk0'
        >>> Volume("rbd", "web.rbd.disk0", "ns", "ganeti", "/etc/ceph/far.conf").uri()
        'rbd:rbd/ns/web.rbd.disk0:id=ganeti:conf=/etc/ceph/far.conf'
        """
        user = f":id={self.user}" if self.user != USER else ""
        conf = f":conf={self.conf}" if self.conf != CONF else ""
        return f"rbd:{self}{user}{conf}"

    def blockdev(self) -> dict[str, str]:
        """Return the name as the options of QEMU's block driver.

        >>> Volume("my-pool", "web.rbd.disk0").blockdev()
        {'driver': 'rbd', 'pool': 'my-pool', 'image': 'web.rbd.disk0'}
        """
        options = {"driver": "rbd", "pool": self.pool, "image": self.image}
        if self.namespace:
            options["namespace"] = self.namespace
        if self.user != USER:
            options["user"] = self.user
        if self.conf != CONF:
            options["conf"] = self.conf
        return options


def parse(uri: str) -> Volume | None:
    """Return the volume that a URI of :meth:`Volume.uri` names, None for any other."""
    if not uri.startswith("rbd:"):
        return None
    name, *pairs = uri.removeprefix("rbd:").split(":")
    options = dict(pair.partition("=")[::2] for pair in pairs)
    pool, *within = name.split("/")
    if len(within) not in (1, 2):
        return None
    try:
        volume = Volume(
            pool,
            within[-1],
            within[0] if len(within) == 2 else "",
            options.get("id", USER),
            options.get("conf", CONF),
        )
    except UsageError:
        return None
    return volume if volume.uri() == uri else None
