"""Which joins do not fit on this node: asked of a process that loads them all."""

import importlib
import json
import sys

import ganeti_ceph
from ganeti_ceph import wire
from ganeti_ceph.joins import apply
from ganeti_ceph.joins.table import JOINS, Kind
from ganeti_ceph.rpc import Misfits
from ganeti_ceph.run import run


def ask() -> Misfits:
    """Return the misfits of this node.

    A process of its own loads the modules, because the one that asks has loaded
    but some of them, and perhaps before the extension was upgraded.
    """
    import ganeti

    path = ganeti.__path__[0].rpartition("/")[0]
    code = (
        f"import sys; sys.path.insert(0, {path!r});"
        " from ganeti_ceph.joins import fit; fit.main()"
    )
    output = run([sys.executable or "/usr/bin/python3", "-c", code], timeout=50)
    answer: Misfits = wire.decode(Misfits, json.loads(output.splitlines()[-1]))
    return answer


def main() -> None:
    """Load every joined module and print which joins were refused."""
    for module in dict.fromkeys(
        join.module
        for join in JOINS
        # A module that another stands in for need not be there.
        if join.kind is not Kind.STAND_IN and apply.is_needed(join)
    ):
        try:
            importlib.import_module(module)
        except ImportError as err:
            apply.refused.append(apply.Refusal(module, f"it cannot be loaded: {err}"))
    from ganeti import constants

    places = tuple((refusal.place, refusal.reason) for refusal in apply.refused)
    misfits = Misfits(ganeti_ceph.__version__, str(constants.RELEASE_VERSION), places)
    print(json.dumps(wire.encode(misfits)))
