"""Which joins do not fit on this node: all of their modules are loaded to see."""

import importlib
import runpy
from collections.abc import Iterable

import ganeti_ceph
from ganeti_ceph.joins import apply
from ganeti_ceph.joins.apply import Refusal
from ganeti_ceph.joins.table import JOINS, Kind
from ganeti_ceph.rpc import Misfits


def ask() -> Misfits:
    """Return the misfits of this node, asked in a child of its node daemon.

    What the daemon has loaded is what it runs; the child loads the rest, as the
    node's other programs do.
    """
    from ganeti import constants

    installed = _installed()
    if installed == ganeti_ceph.__version__:
        # A module that another stands in for need not be there.
        found = refusals(
            join.module
            for join in JOINS
            if join.kind is not Kind.STAND_IN and apply.is_needed(join)
        )
    else:
        # What is on disk does not go with what is loaded.
        why = f"ganeti-ceph {installed} was installed since; restart ganeti-noded"
        found = (Refusal("ganeti.server.noded", why),)
    return Misfits(
        ganeti_ceph.__version__,
        str(constants.RELEASE_VERSION),
        tuple((one.place, one.reason) for one in found),
    )


def refusals(modules: Iterable[str]) -> tuple[Refusal, ...]:
    """Load joined modules and return all that was refused in this process."""
    lost = []
    for module in dict.fromkeys(modules):
        try:
            importlib.import_module(module)
        except ImportError as err:
            lost.append(Refusal(module, f"it cannot be loaded: {err}"))
    apply.load_all()
    return (*apply.refused, *lost)


def _installed() -> str:
    """Return the version on disk, which may be newer than the one that runs."""
    return str(runpy.run_path(ganeti_ceph.__file__)["__version__"])
