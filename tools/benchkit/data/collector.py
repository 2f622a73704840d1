"""What a sample of the collector costs, by the number of OSDs and images.

Runs in a node of a lab that has the extension, and prints its figures as JSON.  The
answers are those that the node's storage cluster gives now, with as many OSDs in them
as are wanted; images are made up.  Everything that the service does with an answer is
done: JSON is read, facts, reports and metrics are made.

Usage: collector.py sample IMAGES OSDS... | memory OSDS IMAGES SAMPLES | serve SECONDS
"""

import asyncio
import contextlib
import copy
import json
import resource
import socket
import sys
import time
from multiprocessing import Pipe, Process

import rados

from ganeti_ceph import ceph
from ganeti_ceph.collector import images, sample
from ganeti_ceph.collector.facts import ImageUse
from ganeti_ceph.collector.mond import Monitor
from ganeti_ceph.collector.publish import publish
from ganeti_ceph.collector.sample import Sampler
from ganeti_ceph.collector.serve import Server

#: OSDs of a host.
OSDS = 24
#: Images that Ceph counts the I/O of, at the most.
COUNTED = 64


class Recorder:
    """A connection that keeps each answer as it came."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.kept = {}

    def mon_command(self, request, data):
        return self._keep(request, self.cluster.mon_command(request, data))

    def mgr_command(self, request, data):
        return self._keep(request, self.cluster.mgr_command(request, data))

    def _keep(self, request, answer):
        self.kept[json.loads(request)["prefix"]] = answer
        return answer


class Player:
    """Gives answers that were kept."""

    def __init__(self, kept):
        self.kept = kept
        self.asked = 0

    def mon_command(self, request, data):
        self.asked += 1
        return self.kept[json.loads(request)["prefix"]]

    mgr_command = mon_command


class MadeUp(images.Images):
    """Images that are opened without a storage cluster."""

    def _look_at(self, cluster, key):
        self._tried[key] = now = self._clock()
        number = int(key[2].partition(".")[0])
        use = ImageUse(
            *(now, 20 << 30, number << 20, ("10.77.0.1",), "10.77.0.1"),
            *("cluster.example", f"instance{number}.example.com", "0"),
        )
        known = self._known[key]
        self._known[key] = type(known)(*key, use, None, known.io, known.rates)
        return True


def record():
    """Return what the storage cluster answers to a leader."""
    cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin")
    cluster.connect()
    recorder = Recorder(cluster)
    with playing(recorder):
        Sampler(
            socket.gethostname(), lambda *_, **__: "", NoImages(), alone=True
        ).take()
    kept = dict(recorder.kept)
    for prefix, (code, _, words) in kept.items():
        if code < 0:
            sys.exit(f"{prefix}: {words}")
    return kept


class NoImages(images.Images):
    def look(self, cluster, pools, counters):
        return ()


@contextlib.contextmanager
def playing(player):
    """Let the sampler ask a player instead of Ceph."""

    @contextlib.contextmanager
    def connect(**_):
        yield player

    real, ceph.connect = ceph.connect, connect
    try:
        yield
    finally:
        ceph.connect = real


def scaled(kept, osds, count):
    """Return answers of a cluster with so many OSDs, and so many images."""
    answers = {prefix: json.loads(answer[1]) for prefix, answer in kept.items()}
    tree = answers["osd df"]["nodes"]
    host = next(node for node in tree if node["type"] == "host")
    disk = next(node for node in tree if node["type"] == "osd")
    perf = answers["osd perf"]["osdstats"]["osd_perf_infos"][0]
    nodes, infos = [], []
    for first in range(0, osds, OSDS):
        ids = list(range(first, min(osds, first + OSDS)))
        name = f"node{first // OSDS + 1}"
        nodes.append({**copy.deepcopy(host), "name": name, "children": ids})
        for one in ids:
            nodes.append({**copy.deepcopy(disk), "id": one, "name": f"osd.{one}"})
            infos.append({**copy.deepcopy(perf), "id": one})
    answers["osd df"]["nodes"] = nodes
    answers["osd perf"]["osdstats"]["osd_perf_infos"] = infos
    for name in ("num_osds", "num_up_osds", "num_in_osds"):
        answers["status"]["osdmap"][name] = osds
    counters = answers["rbd perf image counters"]
    counters["pool_descriptors"] = {"0": "rbd"}
    counters["counters"] = [
        {f"0/{one}.rbd.disk0": [one, 2, 3, 4, 5, 6]}
        for one in range(min(count, COUNTED))
    ]
    return {
        prefix: (0, json.dumps(answer).encode(), "")
        for prefix, answer in answers.items()
    }


def sampler_of(kept, osds, count):
    """Return a sampler of such a cluster, and what answers it."""
    images._list = lambda cluster, pool: (
        ("rbd", "", f"{one}.rbd.disk0") for one in range(count)
    )
    known = MadeUp(limit=None)
    player = Player(scaled(kept, osds, count))
    sampler = Sampler(
        socket.gethostname(), lambda *_, **__: "", known, alone=True, keyring=None
    )
    with playing(player):
        sampler.take()
    # All of them were opened once: from now on it is a few in each sample.
    known._limit = images.LIMIT
    return sampler, player


def samples(count, sizes):
    """Return CPU seconds of a sample and of what is made of it, by OSDs."""
    kept, found = record(), {}
    for osds in sizes:
        sampler, player = sampler_of(kept, osds, count)
        player.asked = 0
        best = {}
        for _ in range(3):
            begun = time.process_time()
            taken = sampler.take()
            read = time.process_time()
            published = publish(taken)
            ended = time.process_time()
            if not best or ended - begun < best["seconds"]:
                best = {"seconds": ended - begun, "read": read - begun}
        best["questions"] = player.asked // 3
        best["metrics"] = len(published.bodies["/metrics"].content)
        best["reports"] = len(published.bodies["/1/report/all"].content)
        assert len(taken.osds) == osds and len(taken.images) == count, taken.gaps
        found[str(osds)] = best
    return found


def memory(osds, count, number):
    """Return the resident memory after tenths of many samples, in MiB."""
    sampler, _ = sampler_of(record(), osds, count)
    found, published = [], None
    for one in range(1, number + 1):
        published = publish(sampler.take())
        if one % (number // 10) == 0:
            with open("/proc/self/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
            found.append(pages * resource.getpagesize() / 2**20)
    assert published is not None
    return found


def serve(seconds):
    """Return how many scrapes are served in a second of processor time."""
    found = {}
    kept = record()
    for osds in (3, 100):
        sampler, _ = sampler_of(kept, osds, osds * 3)
        published = publish(sampler.take())
        for keep in (True, False):
            ours, theirs = Pipe()
            child = Process(target=_server, args=(published, theirs), daemon=True)
            child.start()
            count = _scrape(ours.recv(), seconds, keep)
            ours.send("stop")
            used = ours.recv()
            child.join()
            way = "kept" if keep else "new"
            found[f"{osds} {way}"] = {
                "second": count / seconds,
                "processor": count / used,
                "bytes": len(published.bodies["/metrics"].content),
            }
    return found


def _server(published, pipe):
    async def run():
        server = Server(Monitor())
        server.publish(published)
        async with await server.start("127.0.0.1", 0) as listening:
            begun = time.process_time()
            pipe.send(listening.sockets[0].getsockname()[1])
            while not pipe.poll():
                await asyncio.sleep(0.05)
            pipe.recv()
            pipe.send(time.process_time() - begun)

    asyncio.run(run())


def _scrape(port, seconds, keep):
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    end, count = time.monotonic() + seconds, 0
    connection = None
    while time.monotonic() < end:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(ask)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(2**20)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split()[0])
        left = length - len(body)
        while left > 0:
            left -= len(connection.recv(2**20))
        assert b" 200 " in head.splitlines()[0]
        count += 1
        if not keep:
            connection.close()
            connection = None
    return count


def main(way, *words):
    numbers = [int(word) for word in words]
    if way == "sample":
        return samples(numbers[0], numbers[1:])
    return {"memory": memory, "serve": serve}[way](*numbers)


if __name__ == "__main__":
    sample.local.names = lambda folder: sample.local.Names("cluster.example", (), ())
    print(json.dumps(main(*sys.argv[1:])))
