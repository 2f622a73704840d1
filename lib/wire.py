"""Typed objects to JSON values and back, checked on arrival.

What crosses between nodes is declared as frozen dataclasses; this module turns
them into what JSON holds and makes them again on the other side, where every
value must have the declared type.  Checks beyond types stand in the dataclasses'
own ``__post_init__``, so that an object that exists is a valid one.
"""

import dataclasses
import enum
import types
import typing
from typing import Any

from ganeti_ceph.errors import Error
from ganeti_ceph.secret import Secret


class WireError(Error):
    """What arrived is not what was declared."""


def encode(value: Any) -> Any:
    """Return a dataclass, enum, tuple, secret or plain value as JSON values."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, data: Any, where: str = "value") -> Any:
    """Return ``data`` as an object of the type ``kind``.

    Raises :class:`WireError` that names the place where the two differ.
    """
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if data is None and types.NoneType in arguments:
            return None
        (kind,) = (one for one in arguments if one is not types.NoneType)
        return decode(kind, data, where)
    if origin is tuple:
        return _decode_tuple(arguments, data, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if kind is Secret:
        if not isinstance(data, str):
            raise WireError(f"{where} is no text")
        return Secret(data)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise WireError(f"{where} is {data!r}, no {kind.__name__}") from None
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise WireError(f"{where} is a {type(data).__name__}, not a {kind.__name__}")
    return data


def _decode_tuple(arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if not isinstance(data, list):
        raise WireError(f"{where} is no list")
    kinds = arguments
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = (arguments[0],) * len(data)
    if len(kinds) != len(data):
        raise WireError(f"{where} has {len(data)} items, not {len(kinds)}")
    return tuple(
        decode(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise WireError(f"{where} is no object")
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if set(data) != names:
        odd = sorted(set(data) ^ names)
        raise WireError(
            f"{where} and {kind.__name__} differ in {', '.join(odd)}: do all nodes"
            " run the same version of ganeti-ceph?"
        )
    values = {
        name: decode(hints[name], data[name], f"{where}.{name}") for name in names
    }
    try:
        return kind(**values)
    except ValueError as err:
        raise WireError(f"{where}: {err}") from None
