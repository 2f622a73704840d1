"""Programs that do I/O: their command lines, and what a guest says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BenchError

KIB = 1024
MIB = 1024**2

# An odd number of blocks is prime to the image's number of them, a power of two: so
# such steps reach every block once, and no two of them that follow are near.
_STEP_BLOCKS = 38821


@dataclass(frozen=True)
class Work:
    """Some requests to an image."""

    #: ``read`` or ``write``.
    verb: str
    #: Bytes of a request.
    size: int
    #: Requests at a time.
    depth: int
    count: int
    random: bool

    @property
    def title(self) -> str:
        """What it is, for people."""
        order = "random" if self.random else "sequential"
        size = f"{self.size // KIB} KiB"
        return f"{order} {self.verb}s of {size}, {self.depth} at a time"


def rbd_bench(image: str, work: Work, cache: bool, pattern: str = "") -> list[str]:
    """Return librbd's own benchmark, with librbd's cache or without it."""
    return [
        "rbd",
        "bench",
        f"--rbd_cache={'true' if cache else 'false'}",
        f"--io-type={work.verb}",
        f"--io-size={work.size}",
        f"--io-threads={work.depth}",
        f"--io-total={work.size * work.count}",
        f"--io-pattern={pattern or ('rand' if work.random else 'full-seq')}",
        image,
    ]


def qemu_bench(target: str, work: Work, cache: str, aio: str = "") -> list[str]:
    """Return a program that drives QEMU's block layer without a guest.

    ``cache`` and ``aio`` are the instance's ``disk_cache`` and ``disk_aio``.  The rate
    that the program itself tells of leaves out what is in a cache when it ends, which
    ``rbd bench`` does not.  So look at how long they take from start to end.
    """
    words = ["qemu-img", "bench", "-f", "raw", "-t", cache, "-c", str(work.count)]
    words += ["-d", str(work.depth), "-s", str(work.size)]
    if work.random:
        words += ["-S", str(work.size * _STEP_BLOCKS)]
    if work.verb == "write":
        words += ["-w"]
    if aio:
        words += ["-i", aio]
    return [*words, target]


def guest_rates(output: str, wanted: int) -> Mapping[tuple[str, str], float]:
    """Return what a guest said: requests per second, of each disk and work.

    Raises :class:`BenchError` unless it said as many results as are wanted.
    """
    found = {
        (disk, work): 100 * int(count) / max(1, int(hundredths))
        for disk, work, count, hundredths in re.findall(
            r"^RESULT (\w+) (\w+) (\d+) (\d+)\s*$", output, re.MULTILINE
        )
    }
    if len(found) != wanted:
        raise BenchError(f"the guest: {len(found)} of {wanted} results\n{output}")
    return found
