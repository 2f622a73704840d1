"""What a program needs to reach a storage cluster whose files it cannot read."""

import configparser
import dataclasses
import errno
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import rados

from ganeti_ceph import ceph
from ganeti_ceph.errors import CephError
from ganeti_ceph.secret import Secret

_ADDRESS = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<four>[^:]+)):(?P<port>\d+)")

#: The kinds of a mon's addresses, the best first.
_KINDS = ("v2", "v1", "any")

#: What QEMU can be told to accept.
_METHODS = ("cephx", "none")


@dataclasses.dataclass(frozen=True)
class Login:
    """Where the mons are, who may log in how, and the key for it."""

    #: Host and port of each.
    mons: tuple[tuple[str, int], ...]
    methods: tuple[str, ...]
    #: None where the cluster asks for none.
    key: Secret | None


def read(user: str, conf: str) -> Login:
    """Return what lets a user in, without the prefix ``client.``.

    Asks the storage cluster, so a wrong key or a dead cluster is known at once:
    raises :class:`CephError`.
    """
    with ceph.connect(conf, f"client.{user}") as cluster:
        answer = ceph.command(cluster, "mon dump")
        accepted = re.split(r"[\s,;]+", cluster.conf_get("auth_client_required"))
        methods = tuple(one for one in _METHODS if one in accepted)
        key = _key(cluster, f"client.{user}")
    return Login(tuple(mons(answer["mons"])), methods, key)


def mons(dump: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return host and port of each mon of ``ceph mon dump``.

    Clients speak the newer protocol where a mon has it; QEMU hands the addresses on
    without it, and Ceph knows the protocol by the port.
    """
    found = []
    for mon in dump:
        addresses = {one["type"]: one["addr"] for one in mon["public_addrs"]["addrvec"]}
        best = next((addresses[kind] for kind in _KINDS if kind in addresses), "")
        if match := _ADDRESS.fullmatch(best):
            found.append((match["six"] or match["four"], int(match["port"])))
    return found


def key_in(keyring: str, client: str) -> Secret | None:
    """Return a client's key in the text of a keyring, None if it is not there."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        # Ceph indents what is within a section.
        parser.read_string("\n".join(line.strip() for line in keyring.splitlines()))
    except configparser.Error:
        return None
    key = parser.get(client, "key", fallback="").strip('" ')
    return Secret(key) if key else None


def _key(cluster: rados.Rados, client: str) -> Secret | None:
    """Return the key, from the first place that librados takes one from."""
    if key := cluster.conf_get("key"):
        return Secret(key)
    if path := cluster.conf_get("keyfile"):
        return Secret(_text(path).strip())
    for path in re.split(r"[\s,;]+", cluster.conf_get("keyring")):
        if path and Path(path).exists():
            return key_in(_text(path), client)
    return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise CephError(f"cannot read {path}: {err.strerror}", errno.EIO) from err
