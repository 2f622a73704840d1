"""What an image says of itself: whose disk it is, in the image's metadata."""

import logging
from collections.abc import Callable
from typing import Any

from ganeti_ceph.disk import image
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.errors import CephError, Error

#: Names in the metadata, shown by ``rbd image-meta list``.
CLUSTER = "ganeti.cluster"
INSTANCE = "ganeti.instance"
DISK = "ganeti.disk"

#: What Ganeti begins the text with that it gives devices to keep.
_OWNER = "originstname+"


def create(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Describe the image that the node daemon has just made."""
    from ganeti_ceph.disk.device import is_rbd

    disk, _, owner, _, _, _ = args
    if not is_rbd(disk):
        return wrapped(*args, **kwargs)
    with image.together():
        result = wrapped(*args, **kwargs)
        try:
            _describe(disk, owner)
        except Error as err:
            # The image is good without; an error would leave it with no owner at all.
            logging.warning("ganeti-ceph: cannot describe an image: %s", err)
    return result


def set_info(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Describe an image anew, for example after its instance was renamed."""
    from ganeti import backend

    from ganeti_ceph.disk.device import is_rbd

    disk, text = args
    if not is_rbd(disk):
        return wrapped(*args, **kwargs)
    try:
        _describe(disk, text.removeprefix(_OWNER))
    except Error as err:
        raise backend.RPCFail(str(err)) from None
    return None


def rename_cluster(place: Place, old: str, new: str) -> list[CephError]:
    """Have a place's images of a Ganeti cluster tell its new name; return failures."""
    noted = image.descriptions(place, image.ids(place))
    failed = [notes for notes in noted.values() if isinstance(notes, CephError)]
    ours = [
        name
        for name, notes in noted.items()
        if not isinstance(notes, CephError) and notes.get(CLUSTER) == old
    ]
    return failed + image.annotate(place, ours, {CLUSTER: new})


def _describe(disk: Any, owner: str) -> None:
    from ganeti import ssconf

    from ganeti_ceph.disk.device import volume_of

    described = {
        CLUSTER: ssconf.SimpleStore().GetClusterName(),
        INSTANCE: owner,
        DISK: disk.iv_name.removeprefix("disk/"),
    }
    image.describe(volume_of(disk), described)
