"""How much of librbd's speed QEMU gets, in both access modes, and a guest in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from .figures import Table
from .lab import Lab, require
from .programs import KIB, MIB, Work, guest_rates, qemu_bench, rbd_bench

POOL = "rbd"
#: Bytes of an image, a power of two; all of it is written before the first run.
SIZE = 256 * MIB

WORKS = (
    Work("read", 4 * KIB, 1, 1500, True),
    Work("read", 4 * KIB, 16, 8000, True),
    Work("read", 1024 * KIB, 4, 512, False),
    Work("write", 4 * KIB, 1, 200, True),
    Work("write", 4 * KIB, 16, 1500, True),
    Work("write", 1024 * KIB, 4, 128, False),
)

PLAIN = "rbd bench, no cache"
CACHED = "rbd bench, librbd's cache"
NONE = "userspace, disk_cache=none"
BACK = "userspace, disk_cache=default"
MAPPED = "kernelspace (FUSE), disk_aio={}"
AIOS = ("threads", "native", "io_uring")

#: As data/guest-init has them.
GUEST_WORKS = {
    "read4k1": Work("read", 4 * KIB, 1, 500, False),
    "read4k16": Work("read", 4 * KIB, 16, 1600, False),
    "read1m": Work("read", 1024 * KIB, 1, 64, False),
    "write4k1": Work("write", 4 * KIB, 1, 100, False),
    "write4k16": Work("write", 4 * KIB, 16, 640, False),
    "write1m": Work("write", 1024 * KIB, 1, 32, False),
}
_GUEST_INIT = "/run/bench/guest-init"


def measure_io(lab: Lab, runs: int) -> None:
    """Compare QEMU's block layer in both access modes with ``rbd bench``."""
    tables = [Table(work.title, "requests/s") for work in WORKS]
    with filled(lab, "bench.io"), filled(lab, "bench.map"), mapped(lab) as device:
        for number in range(1, runs + 1):
            for work, table in zip(WORKS, tables, strict=True):
                for way, rate in _rates(lab, work, device):
                    table.add(way, rate)
            print(f"run {number}: done", flush=True)
    for table in tables:
        table.compare(NONE, PLAIN)
        table.compare(BACK, CACHED)
        table.compare(BACK, NONE)
        for aio in AIOS:
            table.compare(MAPPED.format(aio), NONE)
    print(
        "QEMU's block layer without a guest (qemu-img bench) against rbd bench on the\n"
        "same image, from the program's start until it has ended and all is written;\n"
        "kernelspace is an image of its own, mapped through FUSE and a loop device,\n"
        "which any kernel can:"
    )
    print("\n".join(table.text() for table in tables))


def _rates(lab: Lab, work: Work, device: str) -> Iterator[tuple[str, float]]:
    image = f"{POOL}/bench.io"
    for way, cache in ((PLAIN, False), (CACHED, True)):
        yield way, work.count / lab.timed(*rbd_bench(image, work, cache))
    # What QEMU is given for an instance's disk.  librbd's cache writes through until
    # the first flush, which every guest sends early and a benchmark does not.
    uri = f"rbd:{image}"
    warm = f"{uri}:rbd_cache_writethrough_until_flush=false"
    for way, target, cache, aio in (
        (NONE, uri, "none", ""),
        (BACK, warm, "writeback", ""),
        *((MAPPED.format(aio), device, "none", aio) for aio in AIOS),
    ):
        yield way, work.count / lab.timed(*qemu_bench(target, work, cache, aio))


def measure_guest(lab: Lab, runs: int) -> None:
    """Compare what a guest gets in both access modes with ``rbd bench``."""
    tables = {
        name: Table(work.title, "requests/s") for name, work in GUEST_WORKS.items()
    }
    lab.put(lab.nodes[0], "guest-init", _GUEST_INIT)
    names = ("bench.io", "bench.queues", "bench.cache", "bench.map")
    with _all_filled(lab, names), mapped(lab) as device:
        ways = {
            "guest, userspace, disk_cache=none, 1 queue": _opened("bench.io", "on", 1),
            "guest, userspace, disk_cache=none, 2 queues": _opened(
                "bench.queues", "on", 2
            ),
            "guest, userspace, disk_cache=default, 2 queues": _opened(
                "bench.cache", "off", 2
            ),
            "guest, kernelspace (FUSE), disk_cache=none, 2 queues": (
                f"driver=host_device,cache.direct=on,filename={device},2"
            ),
        }
        for number in range(1, runs + 1):
            for name, work in GUEST_WORKS.items():
                # Each of its threads reads a part of its own, as the guest's do.
                words = rbd_bench(f"{POOL}/bench.io", work, False, "seq")
                tables[name].add(PLAIN, work.count / lab.timed(*words))
            answer = lab.script(lab.nodes[0], "guest.sh", _GUEST_INIT, *ways.values())
            wanted = len(ways) * len(GUEST_WORKS)
            found = guest_rates(require(answer, "guest.sh"), wanted)
            for (disk, name), rate in found.items():
                tables[name].add(list(ways)[ord(disk[-1]) - ord("a")], rate)
            print(f"run {number}: done", flush=True)
    direct, queues, cached, kernel = ways
    for table in tables.values():
        table.compare(direct, PLAIN)
        table.compare(queues, direct)
        table.compare(cached, queues)
        table.compare(kernel, queues)
    print(
        "A guest of 2 CPUs against rbd bench.  QEMU emulates the CPUs (TCG), so it is\n"
        "them and not the storage that is slow; each stream waits for its requests:"
    )
    print("\n".join(table.text() for table in tables.values()))


def _opened(image: str, direct: str, queues: int) -> str:
    return f"driver=rbd,cache.direct={direct},pool={POOL},image={image},{queues}"


@contextmanager
def _all_filled(lab: Lab, names: tuple[str, ...]) -> Iterator[None]:
    if not names:
        yield
        return
    with filled(lab, names[0]), _all_filled(lab, names[1:]):
        yield


@contextmanager
def filled(lab: Lab, name: str) -> Iterator[None]:
    """Have an image that is written to everywhere."""
    image = f"{POOL}/{name}"
    lab.master("rbd", "create", f"--size={SIZE // MIB}", image)
    try:
        whole = Work("write", 4 * MIB, 4, SIZE // (4 * MIB), False)
        lab.master(*rbd_bench(image, whole, False))
        yield
    finally:
        lab.master("rbd", "rm", "--no-progress", image)


@contextmanager
def mapped(lab: Lab) -> Iterator[str]:
    """Have a block device for the image ``bench.map``."""
    node = lab.nodes[0]
    try:
        answer = lab.script(node, "mapped.sh", "map", POOL, "bench.map")
        yield require(answer, "mapped.sh map").strip()
    finally:
        require(lab.script(node, "mapped.sh", "unmap", POOL, "bench.map"), "mapped.sh")
