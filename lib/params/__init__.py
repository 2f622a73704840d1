"""Storage parameters: ``gnt-cluster init -S ceph:disk=/dev/sdb,option=value,…``.

Each is declared once, in :mod:`.declarations`.  :func:`parse` reads the argument of
``-S`` into a :class:`Change`, :func:`apply` makes new parameters of the current ones
and a change, :func:`to_tags` and :func:`from_tags` keep them in Ganeti's tags, and
:func:`describe` shows them.
"""

from ganeti_ceph.params.change import (
    RESET,
    Change,
    ParameterError,
    Setting,
    StorageType,
)
from ganeti_ceph.params.declarations import (
    DECLARATIONS,
    Declaration,
    StorageParameters,
    describe,
)
from ganeti_ceph.params.grammar import parse
from ganeti_ceph.params.merge import apply, validate
from ganeti_ceph.params.tags import from_tags, to_tags
from ganeti_ceph.params.values import Access, FailureDomain, Network, OsdLayout, Value

__all__ = [
    "DECLARATIONS",
    "RESET",
    "Access",
    "Change",
    "Declaration",
    "FailureDomain",
    "Network",
    "OsdLayout",
    "ParameterError",
    "Setting",
    "StorageParameters",
    "StorageType",
    "Value",
    "apply",
    "describe",
    "from_tags",
    "parse",
    "to_tags",
    "validate",
]
