"""Questions about many images, one for each pool rather than one for each image."""

import errno
import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ganeti_ceph import ceph
from ganeti_ceph.disk import image
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.errors import CephError

Seen = TypeVar("Seen")


def ask(
    places: Iterable[Place],
    look: Callable[[Place], Seen],
    timeout: int = ceph.TIMEOUT,
) -> dict[Place, Seen | CephError]:
    """Look at each place; return what is seen there, or why nothing is.

    Those that one client opens share its connection, different clients are at work
    beside each other, and one that waited in vain for an answer waits once only:
    all of it takes little longer than ``timeout``, in seconds.
    """

    def of_client(places: Sequence[Place]) -> dict[Place, Seen | CephError]:
        found: dict[Place, Seen | CephError] = {}
        silent = None
        with image.together(timeout):
            for place in places:
                try:
                    if silent:
                        raise silent
                    found[place] = look(place)
                except CephError as err:
                    found[place] = err
                    if err.errno == errno.ETIMEDOUT:
                        silent = err
        return found

    ordered = sorted(set(places), key=_client)
    clients = [list(some) for _, some in itertools.groupby(ordered, _client)]
    with ThreadPoolExecutor(max(1, len(clients))) as threads:
        return {
            place: seen
            for found in threads.map(of_client, clients)
            for place, seen in found.items()
        }


def _client(place: Place) -> tuple[str, str]:
    return place.conf, place.user
