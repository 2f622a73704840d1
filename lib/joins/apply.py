"""Applying the joins of a module once it is loaded, and refusing those that do not fit.

A join that does not fit is left out alone: Ganeti and the other joins go on.  What
was refused is kept in :data:`refused`, logged, and reported by ``gnt-cluster
verify`` and ``gnt-storage``.
"""

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import inspect
import syslog
import types
from collections.abc import Sequence
from typing import Any

from ganeti_ceph.joins.table import JOINS, Join, Kind


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A join that was not applied, and why."""

    place: str
    reason: str


#: The joins refused in this process, in the order their modules were loaded.
refused: list[Refusal] = []

#: What is wrapped around Ganeti's callables in this process.
_around: list["_Around"] = []


class MisfitError(Exception):
    """What a join expects is not what is there."""


class _Around:
    """What runs around a callable: its join's function, loaded when it is called.

    A program of Ganeti's calls but few of what it loads, and would start much later
    if it loaded all that belongs to them.
    """

    def __init__(self, join: Join) -> None:
        self._join = join
        self._function: Any = None
        self._failed = False

    def load(self) -> None:
        """Load the function; one that cannot be loaded is refused."""
        if self._function is not None or self._failed:
            return
        try:
            self._function = _function(self._join)
        except Exception as err:
            self._failed = True
            refused.append(_refuse(self._join, err))

    def __call__(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        self.load()
        if self._failed:
            return wrapped(*args, **kwargs)
        return self._function(wrapped, instance, args, kwargs)


class _JoinLoader(importlib.abc.Loader):
    """Loads a module with the loader it has, then applies its joins."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        try:
            self._loader.exec_module(module)
        except ImportError:
            if not _stand_in(module):
                raise
            return
        refused.extend(apply_to(module))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def joined_spec(
    fullname: str, path: Sequence[str] | None
) -> importlib.machinery.ModuleSpec | None:
    """Return the spec of a module that has joins, or ``None``."""
    if not any(join.module == fullname for join in JOINS):
        return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path)
    if spec is not None and spec.loader is not None:
        spec.loader = _JoinLoader(spec.loader)
    return spec


def apply_to(module: types.ModuleType, joins: Sequence[Join] = JOINS) -> list[Refusal]:
    """Apply every join of a loaded module; return those refused, each logged."""
    refusals = []
    for join in joins:
        if join.module != module.__name__ or join.kind is Kind.STAND_IN:
            continue
        if not is_needed(join):
            continue
        try:
            _apply(module, join)
        except Exception as err:
            refusals.append(_refuse(join, err))
    return refusals


def load_all() -> None:
    """Load what is wrapped around the callables of the modules loaded so far.

    For a daemon, whose children each would do it again.
    """
    for one in _around:
        one.load()


def _refuse(join: Join, err: Exception) -> Refusal:
    refusal = Refusal(join.place, str(err) or repr(err))
    syslog.syslog(
        syslog.LOG_ERR,
        f"ganeti-ceph refuses to join {refusal.place}: {refusal.reason}",
    )
    return refusal


def is_needed(join: Join) -> bool:
    """Tell whether a join is for the release of Ganeti that is installed."""
    if not join.releases:
        return True
    from ganeti import constants

    return any(
        constants.RELEASE_VERSION.startswith(f"{release}.") for release in join.releases
    )


def _stand_in(module: types.ModuleType) -> bool:
    """Fill a module that could not be loaded; tell whether there is a join for that."""
    for join in JOINS:
        if join.module == module.__name__ and join.kind is Kind.STAND_IN:
            _function(join)(module)
            return True
    return False


def _function(join: Join) -> Any:
    target, _, name = join.function.partition(":")
    return getattr(importlib.import_module(target), name)


def _apply(module: types.ModuleType, join: Join) -> None:
    owner, name, value = _resolve(module, join.attribute)
    check_fit(value, join.accepts)
    if join.kind is Kind.EXTEND:
        _function(join)(value)
    elif join.kind is Kind.REPLACE:
        setattr(owner, name, _function(join)(value))
    else:
        import wrapt

        around = _Around(join)
        wrapt.wrap_function_wrapper(owner, name, around)
        _around.append(around)


def _resolve(module: types.ModuleType, attribute: str) -> tuple[Any, str, Any]:
    *parents, name = attribute.split(".")
    owner: Any = module
    for parent in [*parents, name]:
        if not hasattr(owner, parent):
            raise MisfitError(f"there is no {attribute} in {module.__name__}")
        if parent is not name:
            owner = getattr(owner, parent)
    return owner, name, getattr(owner, name)


def shape(function: Any) -> str:
    """Return a callable's parameters as :class:`Join` writes them."""
    marks: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return ", ".join(
        marks.get(parameter.kind, "") + parameter.name
        for parameter in inspect.signature(function).parameters.values()
    )


def check_fit(value: Any, accepts: Sequence[str]) -> None:
    """Raise :class:`MisfitError` unless a value has one of the accepted shapes."""
    if inspect.isroutine(value):
        if shape(value) not in accepts:
            raise MisfitError(
                f"its parameters are ({shape(value)}), expected "
                + " or ".join(f"({text})" for text in accepts)
            )
        return
    reasons = [_unfit(value, text) for text in accepts]
    if all(reasons):
        raise MisfitError("; ".join(reason for reason in reasons if reason))


def _unfit(value: Any, accepted: str) -> str | None:
    kind, _, needed = accepted.partition(" with ")
    if type(value).__name__ != kind:
        return f"it is a {type(value).__name__}, expected a {kind}"
    have = value if isinstance(value, dict) else dir(value)
    missing = [name for name in needed.split(", ") if name and name not in have]
    return f"it has no {', '.join(missing)}" if missing else None
