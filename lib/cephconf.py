"""The ceph.conf that every node gets: how it is written and what is read of it."""

import configparser
import dataclasses
import ipaddress
import re
import uuid

HEADER = (
    "# Written by ganeti-ceph; changes made here are lost.\n"
    "# 'gnt-cluster modify -S ceph:conf.NAME=VALUE' sets an option of Ceph.\n"
)


@dataclasses.dataclass(frozen=True)
class Mon:
    """A monitor: its id and the address of its host."""

    id: str
    address: str

    def __post_init__(self) -> None:
        check_id(self.id)
        ipaddress.ip_address(self.address)

    @property
    def vector(self) -> str:
        """Its addresses as Ceph writes them, messenger 2 and messenger 1."""
        host = self.address
        if ipaddress.ip_address(host).version == 6:
            host = f"[{host}]"
        return f"[v2:{host}:3300,v1:{host}:6789]"


@dataclasses.dataclass(frozen=True)
class ClusterConf:
    """What all nodes of a storage cluster have in common in their ceph.conf."""

    fsid: str
    mons: tuple[Mon, ...]
    public_network: str
    cluster_network: str | None
    options: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        uuid.UUID(self.fsid)
        if not self.mons:
            raise ValueError("a cluster without mons")
        for name, value in self.options:
            if not name.replace("_", "").isalnum() or "\n" in value:
                raise ValueError(f"the option {name!r} cannot stand in ceph.conf")


def check_id(name: str) -> None:
    """Raise ValueError unless a name can be a daemon's id and a part of a path."""
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isalnum() or not name.isascii() or name.startswith((".", "-")):
        raise ValueError(f"{name!r} cannot be a daemon's id")


def render(conf: ClusterConf, place: tuple[tuple[str, str], ...], host: str) -> str:
    """Return a node's ceph.conf as text.

    ``place`` are the CRUSH types above the host with their names, the outermost
    first; without one the OSDs go to ``root=default host=HOST`` by themselves.
    """
    lines = [
        "[global]",
        f"fsid = {conf.fsid}",
        f"mon_initial_members = {','.join(mon.id for mon in conf.mons)}",
        f"mon_host = {','.join(mon.vector for mon in conf.mons)}",
        f"public_network = {conf.public_network}",
    ]
    if conf.cluster_network:
        lines.append(f"cluster_network = {conf.cluster_network}")
    if any(ipaddress.ip_address(mon.address).version == 6 for mon in conf.mons):
        # Ceph binds to one family, and to IPv4 unless told otherwise.
        lines += ["ms_bind_ipv6 = true", "ms_bind_ipv4 = false"]
    if place:
        spots = " ".join(f"{kind}={name}" for kind, name in place)
        lines.append(f"crush_location = root=default {spots} host={host}")
    lines += [f"{name} = {value}" for name, value in conf.options]
    return HEADER + "\n".join(lines) + "\n"


def is_ours(text: str | None) -> bool:
    """Tell whether the text of a ceph.conf is one that we wrote; None is no file."""
    return text is not None and text.startswith(HEADER)


def read_fsid(text: str) -> str | None:
    """Return the fsid that a ceph.conf names, None where it names none."""
    return _globals(text).get("fsid")


def read_mons(text: str) -> tuple[Mon, ...]:
    """Return the first mons that a ceph.conf of ours names; () for another's."""
    found = _globals(text)
    ids = [name for name in found.get("mon_initial_members", "").split(",") if name]
    # The port is told by what follows: an IPv6 address may hold ":3300", too.
    addresses = re.findall(r"\[v2:(\S+?):3300,v1:", found.get("mon_host", ""))
    mons = []
    for name, address in zip(ids, addresses, strict=False):
        try:
            mons.append(Mon(name, address.strip("[]")))
        except ValueError:
            return ()
    return tuple(mons)


class _Parser(configparser.ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        """Take blanks, dashes and underscores in names for the same, as Ceph does."""
        return "_".join(re.split(r"[\s_-]+", optionstr.strip().lower()))


def _globals(text: str) -> dict[str, str]:
    parser = _Parser(interpolation=None, strict=False, comment_prefixes=("#", ";"))
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return dict(parser["global"]) if parser.has_section("global") else {}
