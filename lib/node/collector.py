"""The collector of this node: its Ceph user, which may only read, and its service."""

import rados

from ganeti_ceph import ceph
from ganeti_ceph.node import client, config, files
from ganeti_ceph.run import Runner
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import MakeCollector

#: The Ceph user.
USER = "ganeti-collector"
UNIT = "ganeti-ceph-collector.service"
#: A file of systemd's.
_USERS = "ganeti-ceph-collector.conf"

#: Seconds for systemd to do what it is told.
_PATIENCE = 40

#: Objects that tell of images, and not what is in them.
_OBJECTS = (
    *("rbd_directory", "rbd_header.", "rbd_id.", "rbd_info", "rbd_namespace"),
    *("rbd_object_map.", "rbd_mirroring", "rbd_trash"),
)

#: What the user may do, as Ceph's ``auth`` commands take it: to look, and no more.
#: "allow r" would be too much: mons would tell it all that is kept with them, such as
#: the keys of encrypted OSDs, and managers the secrets of their modules; the profile
#: "rbd-read-only" may shut other clients out; "x" may run what changes an object.
CAPS = (
    "mon",
    "allow service mon r, allow service osd r, allow service mgr r",
    "mgr",
    "allow command 'osd df', allow command 'osd perf',"
    " allow command 'device ls-by-host', allow module rbd_support r",
    "osd",
    ", ".join(f"allow r class-read object_prefix {name}" for name in _OBJECTS),
)


def present(run: Runner) -> bool:
    """Tell whether the collector has a key and runs, or is about to."""
    if not files.keyring(USER).exists():
        return False
    # It ends with 3 if not, with 4 where there is no such unit.
    state = run(["systemctl", "is-active", UNIT], ok=(0, 3, 4))
    return state.strip() in ("active", "activating", "reloading")


def make(step: MakeCollector, run: Runner) -> str:
    """Write down the user's key on this node and have the service run with it."""
    entity = f"client.{USER}"
    with ceph.connect(key=step.admin) as cluster:
        key = _ensure(cluster, entity)
    files.write(files.keyring(USER), config.keyring(entity, key), 0o600)
    # The user that the service runs as, if it is not there.
    run(["systemd-sysusers", _USERS], timeout=_PATIENCE)
    run(["systemctl", "enable", UNIT], timeout=_PATIENCE)
    # One that systemd gave up on, too, and one with an older key.
    run(["systemctl", "reset-failed", UNIT], timeout=_PATIENCE, ok=(0, 1, 5))
    run(["systemctl", "restart", UNIT], timeout=_PATIENCE)
    return "the collector runs"


def _ensure(cluster: rados.Rados, entity: str) -> Secret:
    """Make the user, or put right what it may do; return its key."""
    present = client.find(cluster, entity)
    if present is None:
        # Other nodes may be at it, too: all of them get the same answer.
        (present,) = ceph.command(
            cluster, "auth get-or-create", entity=entity, caps=list(CAPS)
        )
    elif present["caps"] != dict(zip(CAPS[::2], CAPS[1::2], strict=True)):
        ceph.command(cluster, "auth caps", entity=entity, caps=list(CAPS))
    return Secret(present["key"])


def remove(run: Runner) -> None:
    """Stop the service for every boot to come, and forget its key."""
    run(["systemctl", "disable", "--now", UNIT], timeout=_PATIENCE)
    files.keyring(USER).unlink(missing_ok=True)
