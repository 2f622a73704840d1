"""The Ganeti cluster in the lab, made with the commands an administrator types."""

from collections.abc import Sequence

from .errors import LabError
from .lab import Lab
from .network import CLUSTER, DOMAIN
from .node import Node
from .site import GUEST_FOLDER

CLUSTER_NAME = f"{CLUSTER}.{DOMAIN}"
COMMAND_LIMIT = 300.0

HYPERVISOR = ",".join(
    (
        # Without KVM, Debian's /usr/bin/kvm would insist on it.
        "kvm:kvm_path=/usr/bin/qemu-system-x86_64",
        "kvm_flag=disabled",
        f"kernel_path=/{GUEST_FOLDER}/vmlinuz",
        f"initrd_path=/{GUEST_FOLDER}/initrd.img",
        "kernel_args=quiet",
        "serial_console=true",
        "vhost_net=false",
    )
)


def init_command(*storage: str) -> list[str]:
    """Return the command that makes the cluster; storage is for options like -S."""
    return [
        "gnt-cluster",
        "init",
        "--master-netdev=br0",
        "--nic-parameters=link=br0",
        "--enabled-hypervisors=kvm",
        f"--hypervisor-parameters={HYPERVISOR}",
        "--backend-parameters=memory=128M,vcpus=1",
        "--enabled-disk-templates=rbd,file,diskless",
        # The nodes know each other's names, and shall those of removed nodes, too.
        "--no-etc-hosts",
        *storage,
        CLUSTER_NAME,
    ]


def add_command(node: Node) -> list[str]:
    """Return the command that adds a node to the cluster."""
    # Nobody is there to answer ssh's question about a new host key.
    return ["gnt-node", "add", "--no-ssh-key-check", node.fqdn]


def make_cluster(lab: Lab) -> None:
    """Make a cluster of all nodes."""
    master, *others = lab.nodes()
    _call(master, init_command())
    for node in others:
        _call(master, add_command(node))


def _call(node: Node, words: Sequence[str]) -> None:
    done = node.call(words, timeout=COMMAND_LIMIT)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise LabError(f"{' '.join(words)}: exit code {done.returncode}\n{output}")
