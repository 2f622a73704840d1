"""The kinds of value that a storage parameter can have.

Each kind reads text into a typed value and writes it back in one canonical form,
so that ``parse(format(value)) == value``.
"""

import dataclasses
import enum
import ipaddress
import posixpath
import re
from typing import Protocol


class OsdLayout(enum.StrEnum):
    """How an OSD lies on its disk."""

    AUTO = "auto"
    LVM = "lvm"
    RAW = "raw"


class FailureDomain(enum.StrEnum):
    """Ceph's CRUSH types that copies can be spread over, smallest first."""

    OSD = "osd"
    HOST = "host"
    CHASSIS = "chassis"
    RACK = "rack"
    ROW = "row"
    PDU = "pdu"
    POD = "pod"
    ROOM = "room"
    DATACENTER = "datacenter"
    ZONE = "zone"
    REGION = "region"


class Access(enum.StrEnum):
    """How an instance reaches its disks (Ganeti's disk parameter ``access``)."""

    USERSPACE = "userspace"
    KERNELSPACE = "kernelspace"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Value = str | int | bool | Network | OsdLayout | FailureDomain | Access | None


#: Units of sizes, as powers of two.
_SHIFTS = {"M": 20, "G": 30, "T": 40}


class RefusedError(Exception):
    """Text that is no value of its kind; ``offset`` is the place in that text."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset


class Kind(Protocol):
    """What every kind of value can do."""

    @property
    def syntax(self) -> str:
        """What may stand there, in words, for the manual and for messages."""

    def parse(self, text: str) -> Value:
        """Give the typed value, or raise :class:`RefusedError`."""

    def format(self, value: Value) -> str:
        """Give the canonical text of a value."""


def one_of(words: list[str]) -> str:
    """Join words as a sentence does.

    >>> one_of(["auto", "lvm", "raw"])
    'auto, lvm or raw'
    """
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


@dataclasses.dataclass(frozen=True)
class YesNo:
    syntax: str = "yes or no"

    def parse(self, text: str) -> bool:
        if text in ("yes", "true"):
            return True
        if text in ("no", "false"):
            return False
        raise RefusedError(f"{text!r} is neither yes nor no")

    def format(self, value: Value) -> str:
        return "yes" if value else "no"


@dataclasses.dataclass(frozen=True)
class Choice:
    options: type[OsdLayout] | type[FailureDomain] | type[Access]

    @property
    def syntax(self) -> str:
        return one_of([option.value for option in self.options])

    def parse(self, text: str) -> Value:
        try:
            return self.options(text)
        except ValueError:
            raise RefusedError(f"{text!r} is not one of {self.syntax}") from None

    def format(self, value: Value) -> str:
        return str(value)


@dataclasses.dataclass(frozen=True)
class Number:
    """A whole number from ``least`` to ``most``, where there is a most."""

    least: int
    most: int | None = None

    @property
    def syntax(self) -> str:
        if self.most is None:
            return f"a number from {self.least}"
        return f"a number from {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        if not re.fullmatch("[0-9]{1,30}", text):
            raise RefusedError(f"{text!r} is not {self.syntax}")
        number = int(text)
        if number < self.least:
            raise RefusedError(f"{number} is too small: the least is {self.least}")
        if self.most is not None and number > self.most:
            raise RefusedError(f"{number} is too large: the most is {self.most}")
        return number

    def format(self, value: Value) -> str:
        return str(value)


@dataclasses.dataclass(frozen=True)
class OddNumber(Number):
    @property
    def syntax(self) -> str:
        return "an odd" + super().syntax.removeprefix("a")

    def parse(self, text: str) -> int:
        number = super().parse(text)
        if number % 2 == 0:
            raise RefusedError(f"{number} is even: write {number - 1} or {number + 1}")
        return number


@dataclasses.dataclass(frozen=True)
class PowerOfTwo(Number):
    @property
    def syntax(self) -> str:
        return f"a power of two from {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        number = super().parse(text)
        below = 1 << (number.bit_length() - 1)
        if number != below:
            raise RefusedError(
                f"{number} is not a power of two: write {below} or {2 * below}"
            )
        return number


@dataclasses.dataclass(frozen=True)
class Memory:
    """A size in memory, kept as bytes and written as Ganeti writes sizes (``4G``)."""

    least: int
    most: int

    @property
    def syntax(self) -> str:
        limits = f"{self.format(self.least)} to {self.format(self.most)}"
        return f"a size from {limits}, such as 4G"

    def parse(self, text: str) -> int:
        found = re.fullmatch("([0-9]{1,9})([MGT]?)", text.upper())
        if not found:
            raise RefusedError(f"{text!r} is not {self.syntax}")
        # Without a unit, Ganeti's is the mebibyte.
        size = int(found[1]) << _SHIFTS[found[2] or "M"]
        if size < self.least:
            raise RefusedError(
                f"{text} is too small: the least is {self.format(self.least)}"
            )
        if size > self.most:
            raise RefusedError(
                f"{text} is too large: the most is {self.format(self.most)}"
            )
        return size

    def format(self, value: Value) -> str:
        size = int(str(value))
        shift, unit = max(
            (shift, unit)
            for unit, shift in _SHIFTS.items()
            if unit == "M" or size % (1 << shift) == 0
        )
        return f"{size >> shift}{unit}"


@dataclasses.dataclass(frozen=True)
class Auto:
    """Another kind of value, or ``auto`` (``None``): decided where it is used.

    ``also`` are further spellings of ``auto``.
    """

    kind: Kind
    also: tuple[str, ...] = ()

    @property
    def syntax(self) -> str:
        return f"auto or {self.kind.syntax}"

    def parse(self, text: str) -> Value:
        return None if text == "auto" or text in self.also else self.kind.parse(text)

    def format(self, value: Value) -> str:
        return "auto" if value is None else self.kind.format(value)


@dataclasses.dataclass(frozen=True)
class Name:
    """A name whose characters and first character Ceph restricts."""

    further: str
    not_first: str

    @property
    def syntax(self) -> str:
        return "a name"

    def parse(self, text: str) -> str:
        if text[:1] in self.not_first:
            raise RefusedError(f"a name cannot begin with {text[:1]!r}")
        for offset, character in enumerate(text):
            if not (character.isascii() and character.isalnum()) and (
                character not in self.further
            ):
                raise RefusedError(
                    f"a name cannot hold {character!r}, only letters, digits and "
                    f"{' '.join(self.further)}",
                    offset,
                )
        return text

    def format(self, value: Value) -> str:
        return str(value)


@dataclasses.dataclass(frozen=True)
class Cidr:
    syntax: str = "a network such as 192.0.2.0/24 or 2001:db8::/64"

    def parse(self, text: str) -> Network:
        address, slash, length = text.partition("/")
        if not slash or not re.fullmatch("[0-9]{1,3}", length):
            raise RefusedError(
                f"{text!r} has no prefix length: write {self.syntax}",
                len(address) + len(slash),
            )
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            raise RefusedError(f"{text!r} is not {self.syntax}") from None
        if interface.ip != interface.network.network_address:
            raise RefusedError(
                f"{text!r} is an address in a network: write {interface.network}"
            )
        return interface.network

    def format(self, value: Value) -> str:
        return str(value)


@dataclasses.dataclass(frozen=True)
class DevicePath:
    syntax: str = "a path beneath /dev, with * for any characters"

    def parse(self, text: str) -> str:
        if not text.startswith("/"):
            raise RefusedError(f"{text!r} is not a path that begins with /dev/")
        normal = "/" + posixpath.normpath(text).lstrip("/")
        if not normal.startswith("/dev/"):
            raise RefusedError(f"{text!r} is not a path beneath /dev")
        offset = 1
        for component in text[1:].split("/"):
            if component in ("", ".", ".."):
                raise RefusedError(f"the path has to be written as {normal}", offset)
            offset += len(component) + 1
        last = posixpath.basename(text)
        if not last.strip("*"):
            raise RefusedError(
                "the pattern matches every device: write more of the name",
                len(text) - len(last),
            )
        return text

    def format(self, value: Value) -> str:
        return str(value)


@dataclasses.dataclass(frozen=True)
class Text:
    syntax: str = "any text"

    def parse(self, text: str) -> str:
        return text

    def format(self, value: Value) -> str:
        return str(value)
