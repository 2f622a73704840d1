"""A bounded connection to the storage cluster, and typed mon commands over it."""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rados

from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError
from ganeti_ceph.secret import Secret

CONF = "/etc/ceph/ceph.conf"
ADMIN = "client.admin"

#: Seconds that a cluster without an answer may take: to connect, and per operation; so
#: few that a whole job, with all that Ganeti does besides, ends within 30.
TIMEOUT = 20

#: How a client looks for mons that are only just starting: it asks again after
#: fractions of a second, which grow, where Ceph's own choice begins with three seconds.
_EAGER = {
    "mon_client_hunt_interval": "0.3",
    "mon_client_hunt_interval_max_multiple": "20",
}


@contextlib.contextmanager
def connect(
    conf: str = CONF,
    user: str = ADMIN,
    timeout: int = TIMEOUT,
    eager: bool = False,
    key: Secret | None = None,
    mons: Sequence[Mon] = (),
    keyring: str | None = None,
) -> Iterator[rados.Rados]:
    """Give a connection to the storage cluster that ends with the block.

    ``eager`` is for a cluster whose mons are being started; without ``key``, the
    user's is in ``keyring``, or in a keyring of this node where Ceph looks for it;
    without ``mons``, those in ``conf`` are asked.
    Raises :class:`CephError` if the cluster does not answer within ``timeout``
    seconds; commands over the connection are bounded likewise.
    """
    bounds = {
        "client_mount_timeout": str(timeout),
        "rados_mon_op_timeout": str(timeout),
        "rados_osd_op_timeout": str(timeout),
        **(_EAGER if eager else {}),
        **({"key": key.reveal()} if key else {}),
        **({"mon_host": ",".join(mon.vector for mon in mons)} if mons else {}),
        **({"keyring": keyring} if keyring else {}),
    }
    try:
        cluster = rados.Rados(conffile=conf, name=user, conf=bounds)
    except rados.Error as err:
        raise _failure(
            f"cannot use {conf}, is this node a part of the storage cluster?", err
        ) from err
    try:
        try:
            cluster.connect()
        except rados.Error as err:
            raise _failure(
                f"cannot connect to the storage cluster as {user} with {conf}; look at"
                " the mons and the key",
                err,
            ) from err
        yield cluster
    finally:
        cluster.shutdown()


def command(
    cluster: rados.Rados, prefix: str, data: bytes = b"", /, **args: Any
) -> Any:
    """Run a mon command and return its JSON answer; ``None`` if it gives none.

    ``data`` is what the ``ceph`` program would take with ``-i``.
    Raises :class:`CephError` with the command's errno.
    """
    request = json.dumps({"prefix": prefix, "format": "json", **args})
    return _answer(prefix, lambda: cluster.mon_command(request, data))


def manager_command(cluster: rados.Rados, prefix: str, /, **args: Any) -> Any:
    """Run a command of the manager's and return its JSON answer, as :func:`command`.

    A manager that does not answer in time ends the connection.
    """
    request = json.dumps({"prefix": prefix, "format": "json", **args})

    def ask() -> tuple[int, bytes, str]:
        code, answer, status = cluster.mgr_command(request, b"")
        # librados gives its own timeout without the sign that errors have.
        return (-code if code == errno.ETIMEDOUT else code), answer, status

    try:
        return _answer(prefix, ask)
    except CephError as err:
        if err.errno == errno.ETIMEDOUT:
            # librados gives up waiting, but not the command: it would write a late
            # answer, or that of the next manager, to where the call had its variables,
            # over whatever is there by then.
            cluster.shutdown()
        raise


def _answer(prefix: str, ask: Callable[[], tuple[int, bytes, str]]) -> Any:
    try:
        code, answer, status = ask()
    except rados.Error as err:
        raise _failure(f"'ceph {prefix}' failed", err) from err
    if code < 0:
        reason = " ".join(status.split()) or os.strerror(-code)
        raise CephError(f"'ceph {prefix}' failed: {reason}", -code)
    try:
        return json.loads(answer) if answer.strip() else None
    except ValueError as err:
        raise CephError(
            f"the answer to 'ceph {prefix}' is not whole ({err})", errno.EBADMSG
        ) from err


def _failure(what: str, err: rados.Error) -> CephError:
    number = getattr(err, "errno", None) or errno.EIO
    return CephError(f"{what} ({os.strerror(number)})", number)
