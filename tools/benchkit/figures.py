"""Figures of several runs, and how they are shown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

_TITLE = 62
_NUMBER = 9
# Ratios below it show more digits.
_SMALL = 0.1


@dataclass(frozen=True)
class Summary:
    """What the runs of one way came to."""

    median: float
    least: float
    most: float


def summary(values: Sequence[float]) -> Summary:
    """Return the median and the extremes of some runs."""
    return Summary(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each run: what else the machine did then hit both."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


@dataclass
class Table:
    """Ways to do the same, and what each run of them came to."""

    title: str
    unit: str
    digits: int = 0
    rows: dict[str, list[float]] = field(default_factory=dict)
    #: For a way, those that it is compared with.
    against: dict[str, list[str]] = field(default_factory=dict)

    def add(self, way: str, value: float) -> None:
        """Take what a run of a way came to."""
        self.rows.setdefault(way, []).append(value)

    def compare(self, way: str, other: str) -> None:
        """Show the ratio of two ways as well."""
        self.against.setdefault(way, []).append(other)

    def text(self) -> str:
        """Return the table as text: a line for each way and for each ratio."""
        lines = [_line(f"{self.title} ({self.unit})", ("median", "least", "most"))]
        for way, values in self.rows.items():
            lines.append(_figures(f"  {way}", values, self.digits))
            lines += [
                _ratio(f"    ratio to {other}", ratios(values, self.rows[other]))
                for other in self.against.get(way, ())
            ]
        return "\n".join(lines)


def _ratio(title: str, values: Sequence[float]) -> str:
    return _figures(title, values, 4 if statistics.median(values) < _SMALL else 2)


def _figures(title: str, values: Sequence[float], digits: int) -> str:
    one = summary(values)
    return _line(
        title, [f"{number:.{digits}f}" for number in (one.median, one.least, one.most)]
    )


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:{_TITLE}}" + "".join(f"{cell:>{_NUMBER}}" for cell in cells)


def comparison(
    titles: Sequence[str], first: Sequence[float], second: Sequence[float]
) -> str:
    """Return what came of two ways' runs, in seconds, and their ratio as text."""
    sums = [summary(seconds) for seconds in (first, second)]
    lines = [
        f"{title:12} median {one.median:.1f} s"
        f" (least {one.least:.1f}, most {one.most:.1f})"
        for title, one in zip(titles, sums, strict=True)
    ]
    pairs = ratios(first, second)
    lines.append(
        f"ratio        {sums[0].median / sums[1].median:.2f}"
        f" (least {min(pairs):.2f}, most {max(pairs):.2f})"
    )
    return "\n".join(lines)
