"""Looks at images and guests past Ganeti; a program that is run in a lab's node.

It uses neither the rbd program nor the extension.  Each function is a command; what
it returns is printed as JSON.
"""

import contextlib
import hashlib
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import rados
import rbd

Json = Any


def written(pool: str, name: str, boot: str, beat: str, seconds: str) -> Json:
    """Tell what the lab's guest has on its disk, see tools/labkit/data/guest/init.

    Wait until it is of this boot and the heartbeat is past the given one.
    """
    end = time.monotonic() + float(seconds)
    while True:
        with _image(pool, name) as image:
            head = _fields(image.read(0, 512))
        of_boot = head.get("boots", "").lstrip("0") == boot
        if of_boot and int(head["heartbeat"]) > int(beat):
            break
        if time.monotonic() > end:
            sys.exit(f"{pool}/{name}: no boot {boot} after beat {beat}, but {head}")
        time.sleep(0.2)
    with _image(pool, name) as image:
        count = int(head["blocks"])
        blocks = [image.read(k << 20, 4096) for k in range(1, count + 1)]
    return {
        "disk": head["disk"],
        "beat": int(head["heartbeat"]),
        "verdict": head["verdict"],
        "blocks": count,
        "whole": sum(_is_whole(block, boot) for block in blocks),
    }


def beat(pool: str, name: str) -> Json:
    """Tell how far the lab's guest is on a disk."""
    with _image(pool, name) as image:
        return int(_fields(image.read(0, 512))["heartbeat"])


def disks(instance: str) -> Json:
    """Tell the images of an instance, as the master has them in its configuration."""
    with open("/var/lib/ganeti/config.data", encoding="utf-8") as file:
        config = json.load(file)
    (ours,) = (one for one in config["instances"].values() if one["name"] == instance)
    return [config["disks"][disk]["logical_id"][1] for disk in ours["disks"]]


def watchers(pool: str, name: str) -> Json:
    """Tell the addresses of those that have an image open for writing."""
    with _image(pool, name) as image:
        return [one["addr"].partition(":")[0] for one in image.watchers_list()]


def images(pool: str) -> Json:
    """Tell a pool's images and their sizes in mebibytes."""
    with _pool(pool) as ioctx:
        return {name: size >> 20 for name, size in _sizes(ioctx).items()}


def hold(pool: str, name: str) -> Json:
    """Have an image open, say so, and let go of it when standard input ends."""
    with _pool(pool) as ioctx, rbd.Image(ioctx, name) as image:
        image.write(b"held", 1 << 19)
        print("held", flush=True)
        sys.stdin.read()


def soil(pool: str, count: str) -> Json:
    """Write to the end of images that are new, or larger, as soon as they are so.

    Say when it begins to look, and tell in the end which images these were.
    """
    end = time.monotonic() + 60
    soiled: list[str] = []
    with _pool(pool) as ioctx:
        known = _sizes(ioctx)
        print("looking", flush=True)
        while len(soiled) < int(count):
            for name, size in _sizes(ioctx).items():
                if size > known.get(name, 0):
                    with rbd.Image(ioctx, name) as image:
                        image.write(b"soiled", size - 4096)
                    known[name] = size
                    soiled.append(name)
            if time.monotonic() > end:
                sys.exit(f"no more than {soiled} was new or larger")
    return sorted(soiled)


def query(path: str, command: str, arguments: str = "{}") -> Json:
    """Tell what QEMU answers to a command of its machine protocol."""
    asked = {"execute": command, "arguments": json.loads(arguments)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        stream = connection.makefile("rw")
        answer = json.loads(stream.readline())
        for one in ({"execute": "qmp_capabilities"}, asked):
            stream.write(json.dumps(one) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
            while "return" not in answer:
                if "error" in answer:
                    sys.exit(f"{one}: {answer}")
                answer = json.loads(stream.readline())
    return answer["return"]


def _sizes(ioctx: Any) -> dict[str, int]:
    sizes = {}
    for name in rbd.RBD().list(ioctx):
        # It may be half made.
        with contextlib.suppress(rbd.ImageNotFound):
            with rbd.Image(ioctx, name, read_only=True) as image:
                sizes[name] = int(image.size())
    return sizes


@contextlib.contextmanager
def _pool(name: str) -> Iterator[Any]:
    """Open a pool, or POOL/NAMESPACE; another storage cluster's as CLUSTER:POOL."""
    conf, _, within = name.rpartition(":")
    pool, _, namespace = within.partition("/")
    with rados.Rados(conffile=f"/etc/ceph/{conf or 'ceph'}.conf") as cluster:
        with cluster.open_ioctx(pool) as ioctx:
            ioctx.set_namespace(namespace)
            yield ioctx


@contextlib.contextmanager
def _image(pool: str, name: str) -> Iterator[Any]:
    # Who opens an image read-only is none of its watchers.
    with _pool(pool) as ioctx, rbd.Image(ioctx, name, read_only=True) as image:
        yield image


def _fields(text: bytes) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\w+)", text.decode(errors="replace")))


def _is_whole(block: bytes, boot: str) -> bool:
    head = _fields(block[:128])
    digest = hashlib.sha256(block[128:]).hexdigest()
    return head.get("boot") == boot and head.get("sha256") == digest


COMMANDS = {
    function.__name__: function
    for function in (written, beat, disks, watchers, images, hold, soil, query)
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
