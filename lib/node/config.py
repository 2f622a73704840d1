"""A node's ceph.conf and keyrings."""

import re

from ganeti_ceph import cephconf
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Configure, Keys

_ADMIN_CAPS = "".join(
    f'\tcaps {daemon} = "allow *"\n' for daemon in ("mds", "mgr", "mon", "osd")
)
_KEY = re.compile(r"^\s*key\s*=\s*(\S+)\s*$", re.MULTILINE)


def keyring(entity: str, key: Secret, caps: str = "") -> str:
    """Return the text of a keyring that holds one key."""
    return f"[{entity}]\n\tkey = {key.reveal()}\n{caps}"


def mon_keyring(keys: Keys) -> str:
    """Return the keyring that a first mon is made with."""
    return keyring("mon.", keys.mon, '\tcaps mon = "allow *"\n') + keyring(
        "client.admin", keys.admin, _ADMIN_CAPS
    )


def configure(step: Configure) -> str:
    """Write ceph.conf and, if given, the administrator's key; not over another's."""
    text = files.read(files.CONF)
    theirs = cephconf.read_fsid(text) if text is not None else None
    if text is not None and theirs != step.conf.fsid:
        raise ExecError(f"{files.CONF} is of another storage cluster, {theirs}")
    # The key first: where ceph.conf is, the key is too.
    if step.admin:
        files.write(
            files.ADMIN_KEYRING,
            keyring("client.admin", step.admin, _ADMIN_CAPS),
            0o600,
        )
    files.write(
        files.CONF, cephconf.render(step.conf, step.place, step.hostname), 0o644
    )
    return f"wrote {files.CONF}"


def read_keys() -> Keys:
    """Return the first keys of the storage cluster as this node has them.

    Raises :class:`ExecError` on a node without a mon.
    """
    admin = files.read(files.ADMIN_KEYRING)
    for path in sorted((files.DATA / "mon").glob("ceph-*/keyring")):
        mon = files.read(path)
        if mon and admin:
            return Keys(_key_in(mon), _key_in(admin))
    raise ExecError("this node has no mon, or not the administrator's key")


def _key_in(text: str) -> Secret:
    found = _KEY.search(text)
    if not found:
        raise ExecError("a keyring of this node holds no key")
    return Secret(found.group(1))
