"""A manager on this node."""

from ganeti_ceph import ceph
from ganeti_ceph.node import config, files, services
from ganeti_ceph.run import Runner
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import MakeMgr

_CAPS = ["mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"]


def make(step: MakeMgr, run: Runner) -> str:
    """Give a mgr its key and start it."""
    entity = f"mgr.{step.id}"
    with ceph.connect(key=step.admin) as cluster:
        answer = ceph.command(cluster, "auth get-or-create", entity=entity, caps=_CAPS)
    owner = files.ceph_ids()
    directory = files.daemon_dir("mgr", step.id)
    files.make_dir(directory, owner)
    key = Secret(answer[0]["key"])
    files.write(directory / "keyring", config.keyring(entity, key), 0o600, owner)
    services.start("mgr", step.id, run)
    return f"{entity} runs"
