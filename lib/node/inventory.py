"""What a node tells of the images in the pools in use."""

import re

from ganeti_ceph.disk import describe, image, inventory, mappers
from ganeti_ceph.errors import CephError
from ganeti_ceph.facts import ImagesFacts, PlaceFacts, UnknownImage
from ganeti_ceph.node import osd_watches
from ganeti_ceph.node.look import addresses
from ganeti_ceph.rpc import LookAtImages, LookAtPlace, Watched
from ganeti_ceph.run import Runner

#: Seconds for a storage cluster to answer.  Who asks has usually asked for the disks'
#: status before, and all of a verification shall end within a minute.
_TIMEOUT = 10

#: The names that Ganeti gives images, and we give copies of them that are not whole.
_OF_GANETI = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.rbd\.disk\d+"
    rf"({re.escape(image.UNFINISHED)})?"
)


def look(asked: LookAtImages, run: Runner) -> ImagesFacts:
    """Return what this node knows of images; nothing is mapped or opened to write."""
    wanted = {one.place: one for one in asked.places}
    found = inventory.ask(
        wanted, lambda place: _place(wanted[place], asked.watched), _TIMEOUT
    )
    facts = [found[one.place] for one in asked.places]
    return ImagesFacts(
        tuple(
            PlaceFacts(str(one)) if isinstance(one, CephError) else one for one in facts
        ),
        tuple(sorted(mappers.mapped(run).items())),
        addresses(run),
        osd_watches.ask() if asked.watched is Watched.BY_OSDS else (),
    )


def _place(asked: LookAtPlace, watched: Watched) -> PlaceFacts:
    ids = image.ids(asked.place)
    there = [disk for disk in asked.disks if disk in ids]
    by_osds = watched is Watched.BY_OSDS
    watchers = {}
    if watched is Watched.BY_LOOK:
        watchers = image.watchers(asked.place, there)
    unknown: list[UnknownImage] = []
    if asked.known is not None:
        others = ids.keys() - {*asked.known, *asked.disks}
        suspects = sorted(name for name in others if _OF_GANETI.fullmatch(name))
        for name, notes in image.descriptions(asked.place, suspects).items():
            noted = {} if isinstance(notes, CephError) else notes
            unknown.append(
                UnknownImage(
                    name,
                    noted.get(describe.CLUSTER, ""),
                    noted.get(describe.INSTANCE, ""),
                )
            )
    return PlaceFacts(
        None,
        missing=tuple(disk for disk in asked.disks if disk not in ids),
        broken=tuple(
            (name, str(seen))
            for name, seen in watchers.items()
            if isinstance(seen, CephError)
        ),
        watched=tuple(
            (name, seen)
            for name, seen in watchers.items()
            if seen and not isinstance(seen, CephError)
        ),
        unknown=tuple(unknown),
        ids=tuple((disk, ids[disk]) for disk in there) if by_osds else (),
        osds=tuple(sorted(image.up_osds(asked.place)))
        if by_osds and asked.osds
        else (),
    )
