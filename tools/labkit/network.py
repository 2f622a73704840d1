"""The lab's network: namespaces that the host's own network never meets."""

import ipaddress
from pathlib import Path

from .paths import LabPaths
from .programs import run

DOMAIN = "lab.example"
IPV4 = ipaddress.IPv4Network("10.77.0.0/24")
IPV6 = ipaddress.IPv6Network("fd00:77::/64")
CLUSTER = "cluster"
CLUSTER_HOST = 100
GUESTS = 9
GUEST_HOST = 200
MAX_NODES = 50


def addresses(host: int) -> tuple[str, str]:
    """Return the IPv4 and the IPv6 address of a host number."""
    return str(IPV4[host]), str(IPV6[int(str(host), 16)])


def hosts_file(nodes: int) -> str:
    """Return an /etc/hosts that knows the nodes, the cluster and some guests."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    names = [(number, f"node{number}") for number in range(1, nodes + 1)]
    # The cluster and its guests have no IPv6 address: Ganeti's primary family
    # is IPv4, and a name with both would make it look at the wrong one.
    single = [(CLUSTER_HOST, CLUSTER)]
    single += [(GUEST_HOST + n, f"guest{n}") for n in range(1, GUESTS + 1)]
    for host, name in names:
        lines += [f"{address} {name}.{DOMAIN} {name}" for address in addresses(host)]
    for host, name in single:
        lines.append(f"{addresses(host)[0]} {name}.{DOMAIN} {name}")
    return "\n".join(lines) + "\n"


class Network:
    """The switch of a lab and the nodes' connections to it.

    Every node has a bridge br0 with its addresses, as a Ganeti node has: its link
    to the switch is one port of br0, its instances' interfaces are others.
    """

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths

    def namespace(self, number: int) -> Path:
        """Return the file that is a node's network namespace."""
        return self._paths.run / f"node{number}" / "net"

    def make_switch(self) -> None:
        """Make the bridge that all nodes are plugged into."""
        _make_namespace(self._paths.switch)
        _ip(
            self._paths.switch,
            "link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set switch up",
        )

    def plug(self, number: int) -> None:
        """Make a node's namespace and interfaces; its port stays down."""
        inside = self.namespace(number)
        _make_namespace(inside)
        mac = f"02:00:0a:4d:00:{number:02x}"
        _ip(
            self._paths.switch,
            f"link add port{number} type veth peer name eth0 netns {inside}",
            f"link set port{number} master switch",
        )
        _ip(
            inside,
            "link set lo up",
            f"link set eth0 address {mac}",
            # With an address of its own br0 does not change it with its ports.
            f"link add br0 address {mac} type bridge stp_state 0 forward_delay 0 "
            "mcast_snooping 0",
            "link set eth0 master br0",
            "link set eth0 up",
            "link set br0 up",
        )
        give_addresses(inside, number)

    def set_port(self, number: int, *, up: bool) -> None:
        """Connect a node to the switch, or cut it off."""
        _ip(self._paths.switch, f"link set port{number} {'up' if up else 'down'}")

    def remove_namespace(self, namespace: Path) -> None:
        """Let go of a namespace: it ends, with its interfaces."""
        run(["umount", "--lazy", namespace], check=False)
        namespace.unlink(missing_ok=True)


def give_addresses(namespace: Path, number: int) -> None:
    """Let a node have its own addresses and no other.

    The namespace outlives the node; of what a machine had, such as the address of
    Ganeti's master, nothing is left when it boots.
    """
    ipv4, ipv6 = addresses(number)
    _ip(
        namespace,
        "address flush dev br0 scope global",
        f"address add {ipv4}/{IPV4.prefixlen} brd + dev br0",
        f"address add {ipv6}/{IPV6.prefixlen} dev br0 nodad",
    )


def _make_namespace(namespace: Path) -> None:
    # Not "ip netns add": that makes /run/netns a mount point for good.
    namespace.parent.mkdir(parents=True, exist_ok=True)
    namespace.touch()
    run(["unshare", f"--net={namespace}", "true"])


def _ip(namespace: Path, *commands: str) -> None:
    batch = "\n".join(commands) + "\n"
    run(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], stdin=batch)
