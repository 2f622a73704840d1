"""The room, and the data that is on its way."""

import heapq
from collections.abc import Iterable, Sequence

from ganeti_ceph.collector import report
from ganeti_ceph.collector.facts import Capacity, Groups, Pool, Sample
from ganeti_ceph.collector.web import widgets as ui
from ganeti_ceph.collector.web.markup import Html, Part, join, tag

_POOLS = 20
_EVENTS = 10


def capacity(sample: Sample) -> Html:
    parts: list[Part] = []
    usable = report.usable(sample.pools)
    if usable is None or sample.capacity is None:
        parts.append(ui.missing("Capacity"))
    if usable and usable["total"]:
        parts.append(
            _gauge(
                "For data", usable["used"], usable["total"], "of what pools can hold"
            )
        )
    if sample.capacity and sample.capacity.total:
        parts.append(_raw(sample.capacity))
    if sample.pools:
        parts.append(_pools(sample.pools))
    elif sample.pools is not None:
        parts.append(ui.soft("There is no pool."))
    return ui.section("Capacity", *parts)


def _raw(capacity: Capacity) -> Html:
    return _gauge(
        "On the OSDs", capacity.used, capacity.total, "of all OSDs, copies and all"
    )


def _gauge(title: str, used: int, total: int, about: str) -> Html:
    part = used / total
    numbers = f"{ui.size(used)} of {ui.size(total)} used"
    return tag(
        "div",
        tag("p", tag("strong", f"{title}: "), numbers, f" ({ui.percent(part)})"),
        ui.meter(part, f"{title}: {ui.percent(part)} {about} used", "big"),
    )


def _pools(pools: Sequence[Pool]) -> Html:
    # Without any, a column for them is but noise.
    quotas = any(one.quota_bytes is not None for one in pools)
    columns = [
        ui.Column("Pool"),
        ui.Column("Full", "meter"),
        ui.Column("Stored", "number"),
        ui.Column("Room left", "number"),
        ui.Column("Copies", "number"),
        *([ui.Column("Quota", "number")] if quotas else []),
    ]
    shown = heapq.nlargest(_POOLS, pools, key=lambda one: one.stored)
    rows = [
        (
            ui.name(one.name),
            ui.share(_pool_part(one), f"Pool {one.name}"),
            ui.size(one.stored),
            ui.size(max(0, one.usable - one.stored)),
            None if one.size is None else str(one.size),
            *((ui.size_if_known(one.quota_bytes),) if quotas else ()),
        )
        for one in shown
    ]
    about = "By what is stored in them; they share the OSDs."
    left = len(pools) - len(shown)
    return join(
        (
            tag("div", class_="gap"),
            ui.table("Pools", about, columns, rows),
            ui.more(left, f"and {ui.count(left, 'more pool')}."),
        )
    )


def _pool_part(pool: Pool) -> float | None:
    return pool.stored / pool.usable if pool.usable else None


# Recovery


def recovery(sample: Sample) -> Html:
    groups = sample.groups
    if groups is None:
        return ui.section("Recovery", ui.missing("Recovery"))
    recovery = groups.recovery
    parts: list[Part] = []
    pending = recovery.degraded + recovery.misplaced
    if pending and recovery.copies:
        parts += _pending(groups, pending, recovery.copies)
    elif groups.inactive and not pending:
        # Those that no OSD tells of count as if they lacked nothing.
        some = ui.count(groups.inactive, "placement group")
        parts.append(
            tag("p", f"Nobody tells what is missing in {some} out of service.")
        )
    elif not pending:
        # How many there are, Ceph says only while some are not.
        parts.append(tag("p", "All copies of objects are where they belong."))
    if recovery.unfound:
        lost = ui.count(recovery.unfound, "object")
        parts.append(
            tag(
                "p",
                tag("strong", f"{lost} without any copy: "),
                "start the OSDs that are down; 'ceph health detail' names them.",
                class_="bad",
            )
        )
    for number, event in enumerate(groups.progress[:_EVENTS]):
        identity = f"event-{number}"
        done = min(max(event.done, 0.0), 1.0)
        bar = tag(
            "progress",
            ui.percent(done),
            value=f"{done:.3f}",
            max=1,
            aria_labelledby=identity,
        )
        title = tag("p", f"{event.message}: {ui.percent(done)}", id=identity)
        parts.append(tag("div", title, bar, class_="event"))
    left = len(groups.progress) - _EVENTS
    parts.append(ui.more(left, f"and {left} more such events."))
    parts.append(_group_states(groups))
    return ui.section("Recovery", *parts)


def _pending(groups: Groups, pending: int, copies: int) -> Iterable[Html]:
    recovery = groups.recovery
    done = max(0.0, 1 - pending / copies)
    told = []
    if recovery.degraded:
        told.append(f"{recovery.degraded:,} of them missing")
    if recovery.misplaced:
        told.append(f"{recovery.misplaced:,} at a wrong place")
    yield tag(
        "p",
        tag("strong", f"{ui.percent(done)} in place: "),
        f"of {copies:,} copies of objects, {', '.join(told)}.",
    )
    label = "Copies of objects that are in place"
    yield tag(
        "progress",
        ui.percent(done),
        value=f"{done:.4f}",
        max=1,
        class_="big",
        aria_label=label,
    )
    if recovery.left is None:
        yield tag("p", "Nothing moves now, so nobody can say how long it will take.")
    else:
        pace = f"{recovery.objects_rate:,.0f} objects/s, {ui.rate(recovery.bytes_rate)}"
        left = ui.duration(recovery.left)
        yield tag("p", tag("strong", f"About {left} left"), f" at {pace}.")


def _group_states(groups: Groups) -> Html | None:
    if not groups.states:
        return None
    states = sorted(groups.states, key=lambda one: -one[1])
    rows = [
        (
            state.replace("+", ", "),
            f"{number:,}",
            ui.share(number / groups.total, state, "plain") if groups.total else None,
        )
        for state, number in states[:_EVENTS]
    ]
    columns = (
        ui.Column("State"),
        ui.Column("How many", "number"),
        ui.Column("Part", "meter"),
    )
    left = len(states) - len(rows)
    return join(
        (
            tag("div", class_="gap"),
            ui.table("Placement groups", "By their state.", columns, rows),
            ui.more(left, f"and {ui.count(left, 'more state')}."),
        )
    )
