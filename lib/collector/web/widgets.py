"""What the parts of the page have in common."""

import dataclasses
import time
import urllib.parse
from collections.abc import Iterable, Sequence

from ganeti_ceph import words
from ganeti_ceph.collector.facts import Sample
from ganeti_ceph.collector.web import look
from ganeti_ceph.collector.web.markup import Html, Part, tag

#: Shares from which something is getting full, and from which Ceph warns.
FULL = (0.7, 0.85)

#: A space at which no line ends.
STAY = "\N{NO-BREAK SPACE}"


def name(text: str) -> Html:
    """Return a name that somebody chose; it may be written from right to left."""
    return tag("bdi", text)


def count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def percent(part: float) -> str:
    # Nothing is full, or done, before it is.
    number = "<1" if 0 < part < 0.01 else str(min(int(part * 100), 100))
    return f"{number}{STAY}%"


def moment(seconds: float, form: str = "%Y-%m-%d %H:%M:%S UTC") -> Html:
    moment = time.gmtime(seconds)
    machine = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    return tag("time", time.strftime(form, moment), datetime=machine)


def latency(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1000:.0f}{STAY}ms"


def size(count: float) -> str:
    return words.size(count).replace(" ", STAY)


def size_if_known(count: float | None) -> str | None:
    return None if count is None else size(count)


def rate(count: float) -> str:
    return f"{size(count)}/s"


def duration(seconds: float) -> str:
    return words.duration(max(0, int(seconds))).replace(" ", STAY)


def meter(part: float, label: str, *classes: str) -> Html:
    """Return a bar for how full something is; a "plain" one does not judge."""
    low, high = (None, None) if "plain" in classes else FULL
    return tag(
        "meter",
        percent(part),
        value=f"{min(max(part, 0.0), 1.0):.4f}",
        min=0,
        max=1,
        low=low,
        high=high,
        optimum=0,
        aria_label=label,
        class_=" ".join(classes) or None,
    )


def share(part: float | None, label: str, *classes: str) -> Html | None:
    """Return a bar and its number."""
    if part is None:
        return None
    bar = meter(part, label, *classes)
    return tag("div", bar, tag("span", percent(part)), class_="share")


def icon(kind: str) -> Html:
    drawn = tag("path", d=look.ICONS[kind], fill="currentColor")
    return tag("svg", drawn, viewBox="0 0 24 24", aria_hidden="true")


def anchor(title: str) -> str:
    """Return what a section is called in addresses."""
    return title.lower().replace(" ", "-")


def section(title: str, *parts: Part) -> Html:
    name = anchor(title)
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *parts, id=name, aria_labelledby=f"{name}-title")


def soft(*parts: Part) -> Html:
    return tag("p", *parts, class_="soft")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and how its cells look."""

    title: str
    #: "number", "meter", or in a narrow window "broad" and "whole"; "" for none.
    look: str = ""


def table(
    title: str | None,
    about: Part,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Part]],
) -> Html:
    """Return a table; the first cell of a row names it.

    The roles are those that the elements have: a narrow window shows rows as cards, and
    some browsers then forget what they were.
    """
    headings = (
        tag(
            "th",
            one.title,
            scope="col",
            role="columnheader",
            class_="number" if one.look == "number" else None,
        )
        for one in columns
    )
    body = (tag("tr", *_cells(columns, row), role="row") for row in rows)
    return tag(
        "table",
        tag("caption", title and tag("strong", title), about),
        tag("thead", tag("tr", *headings, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
    )


def _cells(columns: Sequence[Column], row: Sequence[Part]) -> Iterable[Html]:
    first, *rest = row
    yield tag("th", first, scope="row", role="rowheader")
    for column, cell in zip(columns[1:], rest, strict=True):
        known = cell is not None
        yield tag(
            "td",
            cell if known else "-",
            role="cell",
            data_name=column.title,
            class_=f"{column.look}{'' if known else ' none'}".strip() or None,
        )


def more(number: int, text: str) -> Html | None:
    return tag("p", text, class_="soft small more") if number > 0 else None


# A link has an id, by which it keeps the focus when the page is renewed.


def missing(title: str) -> Html:
    """Say that a part of a section is not known; why is told once, with the health."""
    link = tag("a", "Health", href="#health", id=f"{anchor(title)}-why")
    return soft("Not known, see ", link, ".")


def leader_link(title: str, sample: Sample, port: int) -> Html:
    """Say whose page has what a section of this one does not."""
    if sample.leader is None:
        return soft(
            "Nobody tells of all OSDs and the instances: no monitor is known to be in"
            " quorum."
        )
    leader = sample.names.node_of(sample.leader)
    address = f"//{urllib.parse.quote(leader, safe='')}:{port}/status"
    return soft(
        "All OSDs and the instances are on ",
        tag("a", f"the page of {leader}", href=address, id=f"{anchor(title)}-leader"),
        ".",
    )
