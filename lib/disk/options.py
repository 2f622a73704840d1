"""The parameters of rbd disks beyond Ganeti's own, declared once.

The fields of :class:`DiskOptions` are the declarations: ``-D rbd:`` and ``--disk`` of
Ganeti's commands, the node's device and the manual page all read them from there.
Their values are texts in Ganeti's configuration.
"""

# _declare makes a field and nothing mutable, as dataclasses.field does.
# ruff: noqa: RUF009

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ganeti_ceph.disk import uri
from ganeti_ceph.errors import UsageError


class Mapper(enum.StrEnum):
    """What makes a block device of an image."""

    AUTO = "auto"
    KRBD = "krbd"
    NBD = "nbd"
    FUSE = "fuse"


class Discard(enum.StrEnum):
    """What becomes of space that a guest gives up; the words are QEMU's."""

    UNMAP = "unmap"
    IGNORE = "ignore"


#: The features of images that may be asked for, each a bit of Ceph's.
FEATURES = (
    "layering",
    "exclusive-lock",
    "object-map",
    "fast-diff",
    "deep-flatten",
    "journaling",
)

#: What a new image has if nothing else is asked for: all that QEMU and, since Linux
#: 5.3, the kernel can use.
USUAL_FEATURES = FEATURES[:5]

_NEEDS = {
    "object-map": "exclusive-lock",
    "fast-diff": "object-map",
    "journaling": "exclusive-lock",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)")
#: Ceph counts the moment when a time of grace is over in 32 bits, and begins anew.
_MOST_GRACE = 10 * 365 * 86400
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


Word = TypeVar("Word", bound=enum.StrEnum)


@dataclasses.dataclass(frozen=True)
class Option:
    """What there is to know of one parameter.

    ``kept`` tells whether a disk keeps the value that it was made with when the
    defaults change later, as it says where the image is; ``changeable`` whether
    ``gnt-instance modify --disk N:`` may change it, which for one that is kept moves
    the image.
    """

    name: str
    field: str
    default: str
    parse: Callable[[str], Any]
    syntax: str
    description: str
    kept: bool = False
    changeable: bool = False


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError("use letters, digits, '.', '_' and '-'")
    return text


def _name_or_none(text: str) -> str:
    # Ganeti takes no empty values where one is given for a disk.
    return "" if text in ("", "none") else _name(text)


def _path(text: str) -> str:
    uri.Volume("pool", "image", conf=text)
    return text


def _mapper(text: str) -> Mapper:
    return _one_of(Mapper, text)


def _discard(text: str) -> Discard:
    return _one_of(Discard, text)


def _one_of(words: type[Word], text: str) -> Word:
    try:
        return words(text)
    except ValueError:
        raise UsageError(f"use one of {', '.join(words)}") from None


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise UsageError("use yes or no")
    return text == "yes"


def _features(text: str) -> tuple[str, ...] | None:
    if text == "auto":
        return None
    given = text.split("+")
    for name in given:
        if name not in FEATURES:
            raise UsageError(
                f"there is no feature {name!r}, only {', '.join(FEATURES)}"
            )
        if name in _NEEDS and _NEEDS[name] not in given:
            raise UsageError(f"{name} needs {_NEEDS[name]}, too")
    return tuple(name for name in FEATURES if name in given)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise UsageError("use a number of bytes, also with K, M, G or T")
    return int(found[1]) * _UNITS[found[2]]


def _object_size(text: str) -> int:
    if not text:
        return 0
    size = _size(text)
    if size & (size - 1) or not 4096 <= size <= 32 * 2**20:
        raise UsageError("use a power of two from 4K to 32M")
    return size


def _stripe_unit(text: str) -> int:
    return _size(text) if text else 0


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text):
        raise UsageError("use a number")
    return int(text)


def _grace(text: str) -> int:
    seconds = _number(text)
    if seconds > _MOST_GRACE:
        raise UsageError(f"use ten years ({_MOST_GRACE}) at the most")
    return seconds


def _declare(
    name: str,
    default: str,
    parse: Callable[[str], Any],
    syntax: str,
    description: str,
    **rest: bool,
) -> Any:
    declared = {
        "name": name,
        "default": default,
        "parse": parse,
        "syntax": syntax,
        "description": description,
        **rest,
    }
    return dataclasses.field(default=parse(default), metadata=declared)


@dataclasses.dataclass(frozen=True)
class DiskOptions:
    """The parameters of one disk."""

    pool: str = _declare(
        "pool",
        "rbd",
        _name,
        "NAME",
        "The pool that holds the image.",
        kept=True,
        changeable=True,
    )
    namespace: str = _declare(
        "namespace",
        "",
        _name_or_none,
        "NAME|none",
        "The namespace of the pool that holds the image, which has to exist; none is"
        " the pool's own.",
        kept=True,
        changeable=True,
    )
    data_pool: str = _declare(
        "data-pool",
        "",
        _name_or_none,
        "NAME|none",
        "The pool that holds the image's data, for example an erasure coded one; the"
        " other pool then holds what describes the image; none is the same pool.",
        kept=True,
        changeable=True,
    )
    user: str = _declare(
        "user-id",
        uri.USER,
        _name,
        "NAME",
        "The Ceph user, without 'client.', that opens the image; its key has to be on"
        " the nodes.",
        kept=True,
        changeable=True,
    )
    conf: str = _declare(
        "ceph-conf",
        uri.CONF,
        _path,
        "PATH",
        "Ceph's configuration file on the nodes, which tells the storage cluster.",
        kept=True,
        changeable=True,
    )
    mapper: Mapper = _declare(
        "mapper",
        "auto",
        _mapper,
        "|".join(Mapper),
        "What makes the block device in kernelspace access: the kernel's rbd driver,"
        " rbd-nbd, or a FUSE export of QEMU's with a loop device; auto takes the first"
        " of them that works on the node and with the image.",
        changeable=True,
    )
    #: None for those that suit.
    features: tuple[str, ...] | None = _declare(
        "features",
        "auto",
        _features,
        "auto|NAME+...",
        "The features of a new image; auto takes " + ", ".join(USUAL_FEATURES) + ".",
    )
    #: Bytes; 0 for Ceph's own choice.
    object_size: int = _declare(
        "object-size",
        "",
        _object_size,
        "SIZE",
        "The size of a new image's objects, a power of two from 4K to 32M.",
    )
    #: Bytes; 0 for Ceph's own choice.
    stripe_unit: int = _declare(
        "stripe-unit",
        "",
        _stripe_unit,
        "SIZE",
        "How much of a new image lies in one object before the next one follows;"
        " together with stripe-count.",
    )
    #: 0 for Ceph's own choice.
    stripe_count: int = _declare(
        "stripe-count",
        "0",
        _number,
        "NUMBER",
        "Over how many objects at a time a new image is spread.",
    )
    #: Seconds.
    trash_grace: int = _declare(
        "trash-grace",
        "0",
        _grace,
        "SECONDS",
        "How long the image of a removed disk stays in Ceph's trash, from where"
        " 'gnt-storage trash restore' brings it back, ten years at the most; with 0 it"
        " is deleted at once.",
        changeable=True,
    )
    discard: Discard = _declare(
        "discard",
        "unmap",
        _discard,
        "|".join(Discard),
        "What becomes of space that the instance discards: unmap gives it back to the"
        " pool, ignore keeps it. It goes before KVM's disk_discard, and holds from the"
        " instance's next start on.",
        changeable=True,
    )
    io_thread: bool = _declare(
        "io-thread",
        "no",
        _yes_or_no,
        "yes|no",
        "Whether QEMU does the disk's I/O in a thread of its own, so that a busy disk"
        " does not hold up others; for disk_type=paravirtual, from the instance's next"
        " start on or when the disk is plugged in.",
        changeable=True,
    )
    #: Requests per second; 0 for no limit.
    iops: int = _declare(
        "iops",
        "0",
        _number,
        "NUMBER",
        "How many requests the instance may send per second; 0 is no limit.",
        changeable=True,
    )
    #: Bytes per second; 0 for no limit.
    bandwidth: int = _declare(
        "bandwidth",
        "0",
        _size,
        "SIZE",
        "How many bytes the instance may read and write per second; 0 is no limit.",
        changeable=True,
    )


OPTIONS: tuple[Option, ...] = tuple(
    Option(field=field.name, **field.metadata)
    for field in dataclasses.fields(DiskOptions)
)

_BY_NAME = {option.name: option for option in OPTIONS}

#: What :func:`check_layout` looks at.
LAYOUT = frozenset({"object-size", "stripe-unit", "stripe-count"})


def read(params: Mapping[str, Any]) -> DiskOptions:
    """Return the options that a disk's parameters give; others are left alone.

    Raises :class:`UsageError` that names the parameter.
    """
    return DiskOptions(**_parse(params))


def check(params: Mapping[str, Any]) -> None:
    """Refuse wrong values, as :func:`read` does; the rest may be given elsewhere."""
    _parse(params)


def check_layout(wanted: DiskOptions) -> None:
    """Refuse objects and stripes that no image can be made with.

    Each may come from another side, the disk, its node group or the cluster, and
    images that are there mind none of them; so only who makes one asks.
    """
    if bool(wanted.stripe_unit) != bool(wanted.stripe_count):
        raise UsageError("give stripe-unit and stripe-count together")
    whole = wanted.object_size or 4 * 2**20
    if wanted.stripe_unit and (
        wanted.stripe_unit > whole or whole % wanted.stripe_unit
    ):
        raise UsageError(
            f"stripe-unit {wanted.stripe_unit} has to divide the object size {whole}"
        )


def _parse(params: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for option in OPTIONS:
        if option.name not in params:
            continue
        text = str(params[option.name])
        try:
            values[option.field] = option.parse(text)
        except UsageError as err:
            raise UsageError(
                f"the disk parameter {option.name} cannot be {text!r}: {err}"
            ) from None
    return values


def moves(params: Mapping[str, Any]) -> bool:
    """Tell whether there is among a disk's new parameters one that moves its image."""
    return any(option.kept and option.name in params for option in OPTIONS)


def given(params: Mapping[str, Any]) -> dict[str, str]:
    """Return those of a disk's parameters that are declared here."""
    return {name: str(value) for name, value in params.items() if name in _BY_NAME}


def kept(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return what a disk shall keep: all of its own, and the defaults to be kept."""
    values = {
        option.name: str(defaults.get(option.name, option.default))
        for option in OPTIONS
        if option.kept
    }
    return {**values, **given(own)}


def place(options: DiskOptions) -> uri.Place:
    """Return where the image of a disk with these options lies."""
    return uri.Place(options.pool, options.namespace, options.user, options.conf)


def volume(image: str, options: DiskOptions) -> uri.Volume:
    """Return the volume of an image that a disk with these options has."""
    return place(options).volume(image)


def image_of(disk: Any, defaults: Mapping[str, Any]) -> uri.Volume:
    """Return the volume of an rbd disk in Ganeti's configuration.

    ``defaults`` are the parameters of its node group.  Raises :class:`UsageError`.
    """
    return volume(disk.logical_id[1], read({**defaults, **disk.params}))
