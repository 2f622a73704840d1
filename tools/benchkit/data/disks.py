"""Time what Ganeti's node daemon does with disks, and what stock Ganeti runs for it.

Commands: ``life POOL MEBIBYTES TURNS``, ``verify POOL DISKS SAMPLE``,
``make POOL MEBIBYTES COUNT PREFIX`` and ``drop POOL COUNT PREFIX``.  Prints one JSON
object: the seconds of each turn of each way.

The functions of Ganeti are called as its node daemon calls them, with the extension
joined.  The programs are those that the stock class of the template rbd runs, word
for word, except for mapping, which needs the kernel's rbd.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, "/usr/share/ganeti/default")

import rados
import rbd
from ganeti import backend, constants, objects
from ganeti.storage import bdev

from ganeti_ceph.disk import image as images
from ganeti_ceph.disk.uri import Place

THREADS = 8
DATA = 64 * 1024**2


def disk(pool, name, size):
    """Return a disk as the master sends it."""
    return objects.Disk(
        dev_type=constants.DT_RBD,
        logical_id=(constants.DT_RBD, name),
        size=size,
        iv_name="disk/0",
        children=[],
        uuid=name,
        params={"pool": pool, "access": constants.DISK_USERSPACE},
        dynamic_params={},
    )


def timed(function, *arguments):
    """Return how long a call takes."""
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


def program(*words):
    """Run a program."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def pipe(source, target):
    """Copy with two programs."""
    with subprocess.Popen(source, stdout=subprocess.PIPE) as reader:
        subprocess.run(target, stdin=reader.stdout, check=True)
    if reader.returncode:
        sys.exit(f"{source[0]} failed")


def life(pool, size, turns):
    """Make, copy, remove and clone disks in both ways, in turns."""
    size = int(size)
    works = ("create", "copy", "remove", "clone")
    taken = {work: {"extension": [], "rbd": []} for work in works}

    def create(one):
        backend.BlockdevCreate(one, size, "bench", True, "", False)

    def rbd_rm(name):
        program("rbd", "rm", "--no-progress", "-p", pool, name)

    source = disk(pool, "bench.source", size)
    create(source)
    with connected(pool) as ioctx, rbd.Image(ioctx, "bench.source") as image:
        for offset in range(0, DATA, 1024**2):
            image.write(b"ganeti" * 170000, offset)
    # What the first of each takes longer is no matter of the way.
    for turn in range(-1, int(turns)):
        ours, theirs = disk(pool, f"bench.a{turn}", size), f"bench.b{turn}"
        seconds = {
            ("create", "extension"): timed(create, ours),
            ("create", "rbd"): timed(
                program, "rbd", "create", "-p", pool, theirs, "--size", str(size)
            ),
            ("copy", "extension"): timed(
                lambda one: pipe(
                    bdev.FindDevice(source, []).Export(),
                    bdev.FindDevice(one, []).Import(),
                ),
                ours,
            ),
        }

        def stock_copy(name):
            # As stock Ganeti does: rbd imports into no image that is there.
            rbd_rm(name)
            pipe(
                ["rbd", "export", "--no-progress", "-p", pool, "bench.source", "-"],
                ["rbd", "import", "--no-progress", "-p", pool, "-", name],
            )

        def stock_clone(name):
            # The snapshot goes at once, as the extension's does.
            snapshot = f"{pool}/bench.source@{name}"
            program("rbd", "snap", "create", "--no-progress", snapshot)
            program(
                *("rbd", "clone", "--rbd-default-clone-format=2"),
                *(snapshot, f"{pool}/{name}"),
            )
            program("rbd", "snap", "rm", "--no-progress", snapshot)

        seconds["copy", "rbd"] = timed(stock_copy, theirs)
        seconds["remove", "extension"] = timed(backend.BlockdevRemove, ours)
        seconds["remove", "rbd"] = timed(rbd_rm, theirs)
        origin = Place(pool).volume("bench.source")
        seconds["clone", "extension"] = timed(
            images.clone, [(origin, f"bench.c{turn}")]
        )
        seconds["clone", "rbd"] = timed(stock_clone, f"bench.d{turn}")
        rbd_rm(f"bench.c{turn}")
        rbd_rm(f"bench.d{turn}")
        if turn >= 0:
            for (work, way), one in seconds.items():
                taken[work][way].append(one)
    backend.BlockdevRemove(source)
    return taken


def verify(pool, count, sample):
    """Ask for the state of disks as gnt-cluster verify does, and as stock would."""
    names = [f"bench.v{number}" for number in range(int(count))]
    disks = [disk(pool, name, 1024) for name in names]
    backend.BlockdevGetmirrorstatusMulti(disks[:1])
    begun = time.perf_counter()
    answers = backend.BlockdevGetmirrorstatusMulti(disks)
    ours = time.perf_counter() - begun
    if wrong := [answer for good, answer in answers if not good]:
        sys.exit(f"{len(wrong)} disks are not well: {wrong[0]}")
    ((well, _),) = backend.BlockdevGetmirrorstatusMulti([disk(pool, "bench.none", 1)])
    if well:
        sys.exit("a disk without an image is said to be well")
    mapped, unmapped = [], []
    shown = ("rbd", "showmapped", "--format", "json")
    for name in names[: int(sample)]:
        mapped.append(timed(program, *shown))
        looked = timed(program, "rbd", "info", "-p", pool, name)
        unmapped.append(mapped[-1] + looked + timed(program, *shown))
    return {"extension": ours, "mapped": mapped, "unmapped": unmapped}


def connected(pool):
    """Return the pool, to be closed after use."""
    cluster = rados.Rados(conffile="/etc/ceph/ceph.conf")
    cluster.connect()
    return cluster.open_ioctx(pool)


def make(pool, size, count, prefix):
    """Make empty images named PREFIX0, PREFIX1 and so on."""
    with connected(pool) as ioctx, ThreadPoolExecutor(THREADS) as threads:
        for done in [
            threads.submit(
                rbd.RBD().create, ioctx, f"{prefix}{number}", int(size) << 20
            )
            for number in range(int(count))
        ]:
            done.result()


def drop(pool, count, prefix):
    """Remove the images that ``make`` made."""
    with connected(pool) as ioctx, ThreadPoolExecutor(THREADS) as threads:
        for done in [
            threads.submit(rbd.RBD().remove, ioctx, f"{prefix}{number}")
            for number in range(int(count))
        ]:
            done.result()


COMMANDS = {function.__name__: function for function in (life, verify, make, drop)}
print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
