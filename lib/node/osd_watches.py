"""Which images are open to write, as this node's OSDs know it.

Each watcher of an image is with the one OSD that is in charge of the image's header.
So all OSDs together know what otherwise only a look into each image would tell.
"""

from pathlib import Path

from ganeti_ceph.disk import image
from ganeti_ceph.facts import OsdWatches
from ganeti_ceph.node import osd_socket

#: An image's header, by its id: the object that all who have it open watch.
_HEADER = "rbd_header."


def ask() -> tuple[OsdWatches, ...]:
    """Return what each OSD of this node knows; who does not answer is left out."""
    told = osd_socket.ask_each(
        osd_socket.find(), _of_osd, "tell which images are open, as an OSD knows it"
    )
    return tuple(one for one in told.values() if one is not None)


def _of_osd(path: Path) -> OsdWatches | None:
    status = osd_socket.ask(path, "status")
    if status["state"] != "active":
        # It may not know yet of what it is in charge.
        return None
    watches: dict[str, set[str]] = {}
    for one in osd_socket.ask(path, "dump_watchers"):
        name = str(one["object"])
        if name.startswith(_HEADER):
            host = image.host_of(one["entity_addr_t"]["addr"])
            watches.setdefault(name.removeprefix(_HEADER), set()).add(host)
    return OsdWatches(
        f"{status['cluster_fsid']}/{int(status['whoami'])}",
        tuple((name, tuple(sorted(hosts))) for name, hosts in sorted(watches.items())),
    )
