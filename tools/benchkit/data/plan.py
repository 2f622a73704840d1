"""Time planning for simulated nodes, and calls to nodes that take a second each.

plan.py DISKS COUNT...: prints one JSON object with the seconds that planning a cluster
of so many nodes takes, from nothing and when all is done, and how long calls take to
3 and to 100 nodes.
"""

import json
import multiprocessing
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Where Debian has it.
sys.path.insert(0, "/usr/share/ganeti/default")

from ganeti import constants, netutils, pathutils
from ganeti.rpc import node as ganeti_rpc

from ganeti_ceph import cephconf, params, plan, rpc
from ganeti_ceph.facts import ClusterFacts, Device, Label, NodeFacts, Osd, Pool
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Configure, Keys

FSID = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11"
KEYS = Keys(Secret("a"), Secret("b"))
PORT = 18110
#: Seconds that each simulated node takes for its answer.
DELAY = 1.0


def device(number, label):
    path = f"/dev/disk/by-id/disk-{number}"
    return Device(
        path=path,
        stable_path=path,
        real_path=f"/dev/sd{number}",
        size=2**40,
        content="an OSD" if label else "",
        busy="held" if label else "",
        label=label,
    )


def node(number, disks, conf=None, mon=False, mgr=False):
    """Return a node, bare or, with its ceph.conf, finished."""
    name = f"node{number:03}"
    found = []
    for index in range(disks):
        label = None
        if conf:
            uuid = plan.osd_uuid(FSID, name, f"/dev/disk/by-id/disk-{index}")
            label = Label(FSID, uuid, number * disks + index, True)
        found.append(device(index, label))
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    facts = NodeFacts(
        hostname=name,
        packages=tuple((package, "18.2.7") for package in plan.PACKAGES),
        conf=conf,
        has_keys=mon,
        has_client=conf is not None,
        has_collector=conf is not None,
        mons=(name,) if mon else (),
        mgrs=(name,) if mgr else (),
        osds=(),
        disks=tuple(found),
        db_devices=(),
        addresses=(f"{address}/16",),
        device_mapper=False,
        loose_keys=(),
        stopped=(),
        clock=(1000.0, 1000.0),
    )
    return plan.Node(name, name, address, address, (), facts, (1000.0, 1000.0))


def timed(function):
    begun = time.perf_counter()
    result = function()
    return time.perf_counter() - begun, result


def planned(nodes, wanted, cluster):
    found = plan.refusals(nodes, wanted, FSID, cluster is not None)
    if found:
        sys.exit(f"refused: {found[0]}")
    return plan.plan(
        nodes, wanted, FSID, KEYS, cluster is None, cluster, ready=cluster is not None
    )


def measure(count, disks):
    """Return the seconds for a cluster of bare nodes, and for one that is complete."""
    wanted = params.apply(
        params.StorageParameters(),
        params.parse("ceph:disk=/dev/sdb"),
        initialised=False,
    )
    bare = [node(number, disks) for number in range(count)]
    seconds, made = timed(lambda: planned(bare, wanted, None))
    steps = sum(len(steps) for stage in made.stages for _, steps in stage.steps)
    if steps < count * disks:
        sys.exit(f"only {steps} steps are planned")
    mons = {mon.id for mon in made.conf.mons}
    mgrs = {f"node{number:03}" for number in range(2)}
    confs = {
        step.hostname: cephconf.render(step.conf, step.place, step.hostname)
        for stage in made.stages
        for _, steps in stage.steps
        for step in steps
        if isinstance(step, Configure)
    }
    done = []
    osds = []
    for number in range(count):
        name = f"node{number:03}"
        one = node(number, disks, conf=confs[name], mon=name in mons, mgr=name in mgrs)
        done.append(one)
        osds += [
            Osd(disk.label.osd_id, disk.label.osd_uuid, True, False, True, name)
            for disk in one.facts.disks
        ]
    cluster = ClusterFacts(
        FSID,
        made.conf.mons,
        tuple(sorted(mons)),
        tuple(sorted(mgrs)),
        tuple(osds),
        (Pool("rbd", 3, 2, 128, ("rbd",)),),
        "HEALTH_OK",
        (),
    )
    again, nothing = timed(lambda: planned(done, wanted, cluster))
    if nothing.stages:
        sys.exit(f"not complete: {nothing.stages[0]}")
    return {"new": seconds, "complete": again}


class Slow(BaseHTTPRequestHandler):
    """A node daemon that takes its time."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(DELAY)
        body = json.dumps([True, None]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve():
    """Be all the simulated nodes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pathutils.NODED_CERT_FILE)
    server = Server(("127.0.0.1", PORT), Slow)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever()


def calls(counts):
    """Return how long it takes to call so many nodes."""
    netutils.GetDaemonPort = lambda _: PORT
    # One machine does all of what 101 would, TLS above all.
    constants.RPC_CONNECT_TIMEOUT = 60

    def resolver(names, _):
        return [(name, "127.0.0.1", name) for name in names]

    runner = ganeti_rpc._RpcClientBase(resolver, ganeti_rpc._ENCODERS.get)
    taken = {}
    for count in counts:
        names = {f"n{number}": None for number in range(count)}
        begun, worked = time.perf_counter(), time.process_time()
        replies = rpc.call(runner, rpc.GRANT, names)
        taken[count] = {
            "seconds": time.perf_counter() - begun,
            "work": time.process_time() - worked,
        }
        if any(reply.error for reply in replies.values()):
            sys.exit(next(reply.error for reply in replies.values() if reply.error))
    return taken


def main():
    disks, *counts = map(int, sys.argv[1:])
    # In a process of its own, as nodes are.
    nodes = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    nodes.start()
    ganeti_rpc.Init()
    print(
        json.dumps(
            {
                "plan": {count: measure(count, disks) for count in counts},
                "calls": calls((3, 100)),
            }
        )
    )


if __name__ == "__main__":
    main()
