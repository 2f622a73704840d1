"""A change of storage parameters, as ``-S`` gives it, and errors that point into it."""

import dataclasses
import enum

from ganeti_ceph.errors import UsageError
from ganeti_ceph.params.declarations import find
from ganeti_ceph.params.values import Value

#: The values of a setting that takes its parameter back to the default.
RESET = ("",)


class StorageType(enum.StrEnum):
    """The storage that Ganeti's nodes can provide together."""

    CEPH = "ceph"


class ParameterError(UsageError):
    """An argument of ``-S`` that is wrong at ``column`` (from 0) of ``text``.

    ``problem`` is the sentence alone; the message shows the place below it.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        super().__init__(problem, text, column)
        self.problem = problem
        self.text = text
        self.column = column

    def __str__(self) -> str:
        # One character for each of the text, or the caret would not be below its place.
        shown = "".join(each if each.isprintable() else "?" for each in self.text)
        return f"{self.problem}\n  {shown}\n  {' ' * self.column}^"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One parameter's new values, or :data:`RESET`, and the column of each."""

    name: str
    values: tuple[Value, ...]
    columns: tuple[int, ...] = dataclasses.field(default=(), compare=False)

    @property
    def is_reset(self) -> bool:
        return self.values == RESET

    def __str__(self) -> str:
        declaration = find(self.name)
        if declaration is None or self.is_reset:
            return f"{self.name}="
        return ",".join(
            f"{self.name}={declaration.kind.format(value)}" for value in self.values
        )


@dataclasses.dataclass(frozen=True)
class Change:
    """What one ``-S`` asks for; ``str()`` gives it back in canonical form.

    ``text`` is the argument as it was given, for errors that are found later.
    """

    settings: tuple[Setting, ...]
    type: StorageType = StorageType.CEPH
    text: str = dataclasses.field(default="", compare=False)

    @property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """The new values by parameter, in the order given."""
        return {setting.name: setting.values for setting in self.settings}

    def __str__(self) -> str:
        return f"{self.type}:{','.join(str(setting) for setting in self.settings)}"

    def error(self, name: str, problem: str, value: Value = None) -> UsageError:
        """Make an error that points at a parameter (or one of its values)."""
        for setting in self.settings:
            if setting.name == name and setting.columns:
                at = setting.values.index(value) if value in setting.values else 0
                return ParameterError(problem, self.text, setting.columns[at])
        return UsageError(problem)
