"""The grammar of ``-S``: ``ceph:disk=/dev/sdb,option=value,…``.

The grammar proper only splits the argument and keeps the place of each piece; it
takes almost any text, so that what is wrong can be said in full, with its place.
"""

import dataclasses
import difflib
import re

import pyparsing

from ganeti_ceph.params.change import (
    RESET,
    Change,
    ParameterError,
    Setting,
    StorageType,
)
from ganeti_ceph.params.declarations import (
    CONF,
    CONF_PREFIX,
    DECLARATIONS,
    Declaration,
    check_option,
    find,
)
from ganeti_ceph.params.tags import check_storable
from ganeti_ceph.params.values import DevicePath, RefusedError, Value


@dataclasses.dataclass(frozen=True)
class _Token:
    column: int
    text: str

    @property
    def end(self) -> int:
        return self.column + len(self.text)


@dataclasses.dataclass(frozen=True)
class _Piece:
    """What stands between two commas; no value where there is no ``=``."""

    name: _Token
    value: _Token | None = None


def _token(pattern: str) -> pyparsing.ParserElement:
    return pyparsing.Regex(pattern).set_parse_action(
        lambda text, column, found: _Token(column, found[0])
    )


def _grammar() -> pyparsing.ParserElement:
    value = pyparsing.Suppress("=") + _token("[^,]*")
    piece = (_token("[^=,]*") + pyparsing.Opt(value)).set_parse_action(
        lambda found: _Piece(*found)
    )
    pieces = piece + pyparsing.ZeroOrMore(pyparsing.Suppress(",") + piece)
    argument = _token("[^:=,]*") + pyparsing.Suppress(":") + pieces
    return argument.leave_whitespace().parse_with_tabs()


_ARGUMENT = _grammar()


def parse(text: str) -> Change:
    """Read the argument of ``-S``, or raise :class:`ParameterError`."""
    if not text:
        raise ParameterError(
            "storage parameters are missing: write ceph:disk=/dev/sdb", text, 0
        )
    try:
        storage, *pieces = _ARGUMENT.parse_string(text, parse_all=True)
    except pyparsing.ParseException as error:
        if find(text[: error.loc]):
            problem = f"the storage type is missing: write '{StorageType.CEPH}:' here"
            raise ParameterError(problem, text, 0) from None
        problem = "':' is missing after the storage type: write ceph:disk=/dev/sdb"
        raise ParameterError(problem, text, error.loc) from None
    return _Reader(text).read(storage, pieces)


class _Reader:
    """Makes settings of the pieces of one argument."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._settings: dict[str, Setting] = {}

    def read(self, storage: _Token, pieces: list[_Piece]) -> Change:
        storage_type = self._storage_type(storage)
        if len(pieces) == 1 and not pieces[0].name.text and not pieces[0].value:
            raise self._error("a parameter is missing after ':'", pieces[0].name.column)
        before: Declaration | None = None
        for piece in pieces:
            before = self._read_piece(piece, before)
        return Change(tuple(self._settings.values()), storage_type, self._text)

    def _error(self, problem: str, column: int) -> ParameterError:
        return ParameterError(problem, self._text, column)

    def _storage_type(self, token: _Token) -> StorageType:
        try:
            return StorageType(token.text)
        except ValueError:
            known = ", ".join(StorageType)
            raise self._error(
                f"unknown storage type {token.text!r}: there is {known}", token.column
            ) from None

    def _read_piece(self, piece: _Piece, before: Declaration | None) -> Declaration:
        name = piece.name.text
        if piece.value is None:
            raise self._without_equals(piece.name, before)
        if not name:
            raise self._error("the name of a parameter is missing", piece.name.column)
        declaration = find(name)
        if declaration is None:
            raise self._error(_unknown(name, before), piece.name.column)
        if declaration.name == CONF:
            try:
                check_option(name.removeprefix(CONF_PREFIX))
            except RefusedError as error:
                column = piece.name.column + len(CONF_PREFIX) + error.offset
                raise self._error(error.reason, column) from None
        setting = self._setting(name, declaration, piece.value)
        former = self._settings.get(name)
        if former:
            setting = self._joined(former, setting, declaration, piece)
        self._settings[name] = setting
        return declaration

    def _setting(self, name: str, declaration: Declaration, value: _Token) -> Setting:
        if not value.text:
            return Setting(name, RESET, (value.column,))
        try:
            check_storable(name, declaration, value.text)
            parsed: Value = declaration.kind.parse(value.text)
        except RefusedError as error:
            place = value.column + error.offset
            raise self._error(f"{name}: {error.reason}", place) from None
        return Setting(name, (parsed,), (value.column,))

    def _joined(
        self, former: Setting, new: Setting, declaration: Declaration, piece: _Piece
    ) -> Setting:
        if not declaration.repeatable:
            raise self._error(
                f"{new.name!r} stands here a second time", piece.name.column
            )
        if former.is_reset or new.is_reset:
            raise self._error(
                f"'{new.name}=' without a value takes away all values and cannot stand "
                "beside others",
                piece.name.column,
            )
        if new.values[0] in former.values:
            raise self._error(
                f"{new.name}: {new.values[0]} stands here a second time",
                *new.columns,
            )
        values, columns = former.values + new.values, former.columns + new.columns
        return Setting(new.name, values, columns)

    def _without_equals(
        self, name: _Token, before: Declaration | None
    ) -> ParameterError:
        if not name.text:
            # The comma that is too many: the next one, or, at the end, the last.
            at_end = name.column == len(self._text)
            return self._error("a comma too many", name.column - at_end)
        if find(name.text):
            return self._error(
                f"'=' and a value are missing after {name.text!r}", name.end
            )
        if before is None:
            return self._error(f"'=' is missing after {name.text!r}", name.end)
        if before.repeatable and isinstance(before.kind, DevicePath):
            again = f"{before.name}={name.text}"
            return self._error(f"each value needs its name: write {again}", name.column)
        return self._error(
            f"'=' is missing after {name.text!r} (a comma always begins the next "
            "parameter; a value cannot hold one)",
            name.end,
        )


def _unknown(name: str, before: Declaration | None) -> str:
    """Say that a parameter is unknown, with the likely right one."""
    names = [declaration.name for declaration in DECLARATIONS]
    problem = f"unknown parameter {name!r}"
    plain = name.strip().lower()
    near = difflib.get_close_matches(plain.replace("_", "-"), names, n=1)
    if near:
        return f"{problem} (did you mean {near[0]!r}?)"
    if re.fullmatch("[a-z]+(_[a-z0-9]+)+", plain):
        return f"{problem} (a Ceph option is given as '{CONF_PREFIX}{plain}')"
    if before and before.name == CONF:
        return f"{problem} (a value cannot hold a comma)"
    return f"{problem}: there are {', '.join(names)}"
