"""Images in Ceph's trash: shown, brought back, deleted for good."""

import datetime
import errno
import time
from collections.abc import Iterable

import rbd

from ganeti_ceph.disk import image
from ganeti_ceph.disk.describe import CLUSTER, DISK, INSTANCE
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.errors import CephError
from ganeti_ceph.facts import TrashedImage

#: A large image takes minutes, and the job does not wait for ever.
_LONGEST = 300


def content(place: Place) -> tuple[TrashedImage, ...]:
    """Return the images that users put into the trash, the oldest first."""
    with image.within(place, f"list the trash of {place}") as pool:
        found = []
        for entry in rbd.RBD().trash_list(pool):
            # Others are Ceph's own, for example of a migration that goes on.
            if entry["source"] != "USER":
                continue
            size, owner = None, {}
            try:
                with rbd.Image(pool, image_id=entry["id"], read_only=True) as opened:
                    size = int(opened.size())
                    owner = dict(opened.metadata_list())
            except rbd.ImageNotFound:
                # Half removed: it can still be purged.
                pass
            found.append(
                TrashedImage(
                    place,
                    entry["id"],
                    entry["name"],
                    size,
                    f"{owner[INSTANCE]}:{owner.get(DISK, '?')}"
                    if INSTANCE in owner
                    else "",
                    owner.get(CLUSTER, ""),
                    _seconds(entry["deletion_time"]),
                    _seconds(entry["deferment_end_time"]),
                )
            )
    return tuple(sorted(found, key=lambda one: (one.removed, one.id)))


def restore(place: Place, image_id: str, name: str) -> None:
    """Bring an image back under a name that no other image has."""
    with image.within(place, f"restore {name} in {place}") as pool:
        try:
            rbd.RBD().trash_restore(pool, image_id, name)
        except rbd.ImageNotFound:
            raise _gone(place, image_id) from None
        except rbd.ImageExists:
            raise CephError(
                f"{place} has an image {name} already; give another name (--name)",
                errno.EEXIST,
            ) from None


def purge(place: Place, image_ids: Iterable[str], force: bool) -> tuple[str, ...]:
    """Delete images for good; return the ids of those that are no more.

    Without ``force`` one whose time of grace is not over is left alone.  So are those
    that something holds or that have snapshots, and those that would be begun more
    than :data:`_LONGEST` seconds after the first.
    """
    gone = []
    end = time.monotonic() + _LONGEST
    with image.within(place, f"purge the trash of {place}") as pool:
        for image_id in image_ids:
            if time.monotonic() > end:
                break
            try:
                rbd.RBD().trash_remove(pool, image_id, force)
            except rbd.ImageNotFound:
                # A node that was asked before did this much and failed then.
                pass
            except (rbd.PermissionError, rbd.ImageBusy, rbd.ImageHasSnapshots):
                continue
            gone.append(image_id)
    return tuple(gone)


def _gone(place: Place, image_id: str) -> CephError:
    return CephError(
        f"the trash of {place} has no image with the id {image_id}; 'gnt-storage trash"
        " list' shows what it has",
        errno.ENOENT,
    )


def _seconds(moment: datetime.datetime) -> int:
    # The binding gives the time in UTC and does not say so.
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())
