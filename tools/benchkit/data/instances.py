"""Make Ganeti believe in many stopped instances.

``multiply NAME COUNT PREFIX`` adds copies of an instance to the configuration while
Ganeti is stopped; each has disks of its own, whose images are named PREFIX0, PREFIX1
and so on.  ``restore`` puts the configuration back.
"""

import copy
import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

CONFIG = Path("/var/lib/ganeti/config.data")
BEFORE = Path("/var/lib/ganeti/config.data.bench")


def systemctl(verb):
    """Stop or start Ganeti on this node."""
    subprocess.run(["systemctl", verb, "ganeti"], check=True)


def multiply(name, count, prefix):
    """Add copies of an instance, on all nodes in turns."""
    systemctl("stop")
    shutil.copy2(CONFIG, BEFORE)
    config = json.loads(CONFIG.read_text())
    (model,) = (
        one for one in config["instances"].values() if one["name"].startswith(name)
    )
    nodes = sorted(config["nodes"])
    images = 0
    for number in range(int(count)):
        one = copy.deepcopy(model)
        one["uuid"] = str(uuid.uuid4())
        one["name"] = f"bench-copy{number}.lab.example"
        one["primary_node"] = nodes[number % len(nodes)]
        one["nics"] = []
        one["disks"] = []
        for known in model["disks"]:
            disk = copy.deepcopy(config["disks"][known])
            disk["uuid"] = str(uuid.uuid4())
            disk["logical_id"][1] = f"{prefix}{images}"
            disk["nodes"] = [one["primary_node"]]
            images += 1
            one["disks"].append(disk["uuid"])
            config["disks"][disk["uuid"]] = disk
        config["instances"][one["uuid"]] = one
    config["serial_no"] += 1
    # In place: owner and mode stay.
    CONFIG.write_text(json.dumps(config))
    systemctl("start")


def restore():
    """Put the configuration back."""
    systemctl("stop")
    shutil.move(BEFORE, CONFIG)
    systemctl("start")


COMMANDS = {"multiply": multiply, "restore": restore}
COMMANDS[sys.argv[1]](*sys.argv[2:])
