"""What discard and the image feature object-map gain and cost."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import BenchError
from .figures import Table
from .lab import Lab
from .programs import KIB, MIB, Work, rbd_bench

POOL = "rbd"
IMAGE = f"{POOL}/bench.image"
#: MiB written, then discarded.
WRITTEN = 64
#: Objects of the image that is written to: each gets some of the requests.
OBJECTS = 128
#: The size of one that is not.
SPARSE = "20G"

_WITHOUT = "layering,exclusive-lock"
_WITH = f"{_WITHOUT},object-map,fast-diff"
_FEATURES = {"without object-map": _WITHOUT, "with object-map": _WITH}
_NEW = Work("write", 4 * KIB, 16, 500, True)


def measure_defaults(lab: Lab, runs: int) -> None:
    """Compare the values of discard, and images with and without object maps."""
    used = Table(f"in use after {WRITTEN} MiB were written and discarded", "MiB")
    taken = Table("the discard itself", "s", 2)
    first = Table("first writes of 4 KiB to an image, 16 at a time", "requests/s")
    again = Table("later writes of 4 KiB to it, 16 at a time", "requests/s")
    seen = Table(f"rbd du of an empty image of {SPARSE}iB", "s", 2)
    gone = Table(f"rbd rm of an empty image of {SPARSE}iB", "s", 2)
    for number in range(1, runs + 1):
        for mode in ("ignore", "unmap"):
            seconds, left = _discard(lab, mode)
            taken.add(f"discard={mode}", seconds)
            used.add(f"discard={mode}", left)
        for way, features in _FEATURES.items():
            with _image(lab, f"{OBJECTS * 4}M", features):
                words = rbd_bench(IMAGE, _NEW, False)
                first.add(way, _NEW.count / lab.timed(*words))
                again.add(way, _NEW.count / lab.timed(*words))
            with _image(lab, SPARSE, features):
                seen.add(way, lab.timed("rbd", "du", IMAGE))
                gone.add(way, lab.timed("rbd", "rm", "--no-progress", IMAGE))
        print(f"run {number}: done", flush=True)
    for table in (first, again, seen, gone):
        table.compare("with object-map", "without object-map")
    print("discard:")
    print("\n".join(table.text() for table in (used, taken)))
    print("The image feature object-map (with fast-diff):")
    print("\n".join(table.text() for table in (first, again, seen, gone)))


@contextmanager
def _image(lab: Lab, size: str, features: str) -> Iterator[None]:
    features = f"--image-feature={features}"
    lab.master("rbd", "create", f"--size={size}", features, IMAGE)
    try:
        yield
    finally:
        lab.run(lab.nodes[0], "rbd", "rm", "--no-progress", IMAGE)


def _discard(lab: Lab, mode: str) -> tuple[float, float]:
    name = IMAGE.partition("/")[2]
    with _image(lab, "1G", _WITH):
        opened = f"driver=raw,discard={mode},file.driver=rbd,file.pool={POOL}"
        output = lab.master(
            "qemu-io",
            "--image-opts",
            *("-c", f"write -P 7 0 {WRITTEN}M", "-c", f"discard 0 {WRITTEN}M"),
            f"{opened},file.image={name}",
        )
        du = json.loads(lab.master("rbd", "du", "--format=json", IMAGE))
        left = sum(one["used_size"] for one in du["images"]) / MIB
    return discard_seconds(output), left


def discard_seconds(output: str) -> float:
    """Return how long qemu-io says that its discard took."""
    part = output.partition("\ndiscard ")[2]
    found = re.search(r"ops; ([0-9.]+) sec", part)
    if found is None:
        raise BenchError(f"qemu-io: nothing to understand in {output[-200:]!r}")
    return float(found[1])
