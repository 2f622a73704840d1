"""The process that keeps a node running: detached, one per node."""

import subprocess
import sys

from . import cgroups
from .disks import detach, loops_on
from .network import Network, give_addresses
from .node import Node, note_devices, noted_devices

# systemd-nspawn ends with it when its node reboots and it may not do that itself.
REBOOT = 133

LOOK_SECONDS = 1.0


def keep(node: Node) -> None:
    """Run a node until it is powered off, through all its reboots."""
    network = Network(node.paths)
    code = REBOOT
    while code == REBOOT:
        if not node.cut_mark.exists():
            network.set_port(node.number, up=True)
        code = _run_once(node)
        print(f"{node.name}: systemd-nspawn ended with {code}", flush=True)
        # The kernel would still answer for the addresses of a dead node.
        network.set_port(node.number, up=False)
        cgroups.kill_all(*node.group)
        cgroups.remove(*node.group)
        detach(loops_on(noted_devices(node)))
        node.devices_file.unlink(missing_ok=True)


def _run_once(node: Node) -> int:
    give_addresses(node.namespace, node.number)
    with node.console.open("ab") as console:
        child = subprocess.Popen(
            nspawn_command(node),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # A node of its own view of control groups, whatever the host has.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            preexec_fn=lambda: cgroups.enter(*node.group),
        )
    while True:
        try:
            return child.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            note_devices(node)
            sys.stdout.flush()


def nspawn_command(node: Node) -> list[str]:
    """Return the command that is the node."""
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--keep-unit",
        "--register=no",
        f"--directory={node.root}",
        f"--machine={node.machine}",
        f"--hostname={node.fqdn}",
        f"--network-namespace-path={node.namespace}",
        "--console=read-only",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        # All that the host has to give, but for the clock and the kernel's
        # modules, which are the host's own.
        "--capability=all",
        "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE",
        "--bind=/dev/fuse",
        "--bind=/dev/loop-control",
        "--bind=/dev/net/tun",
    ]
