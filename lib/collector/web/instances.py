"""The instances, by what they store and by what they do."""

import dataclasses
import heapq
from collections.abc import Iterable, Sequence

from ganeti_ceph.collector.facts import Image, Rates, Sample
from ganeti_ceph.collector.web import widgets as ui
from ganeti_ceph.collector.web.markup import Html, Part, join, tag

_INSTANCES = 12


_STILL = Rates(0.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass
class _Instance:
    """The disks of an instance together; or an image of none."""

    cluster: str
    name: str
    #: Of the image, if it is of no instance.
    of_none: bool
    disks: int = 0
    size: int = 0
    used: int = 0
    #: Whether it may have written more than is known.
    more: bool = False
    nodes: set[str] = dataclasses.field(default_factory=set)
    rates: Rates = _STILL

    @property
    def bytes_rate(self) -> float:
        return self.rates.read_bytes + self.rates.write_bytes

    @property
    def busy(self) -> tuple[float, float]:
        return self.bytes_rate, self.rates.read_ops + self.rates.write_ops


def _add(one: Rates, other: Rates) -> Rates:
    return Rates(
        one.read_bytes + other.read_bytes,
        one.write_bytes + other.write_bytes,
        one.read_ops + other.read_ops,
        one.write_ops + other.write_ops,
    )


def _by_instance(sample: Sample, images: Iterable[Image]) -> list[_Instance]:
    """Put the images of each instance together; those not opened yet have no size."""
    found: dict[tuple[str, str, str], _Instance] = {}
    for image in images:
        use = image.use
        if use is None and image.rates is None:
            continue
        owned = use is not None and use.instance
        place = "" if owned else f"{image.place}/{image.name}"
        cluster, name = (use.cluster, use.instance) if use else ("", "")
        one = found.setdefault(
            (cluster, name, place), _Instance(cluster, name or place, not owned)
        )
        one.disks += 1
        if use is not None:
            one.size += use.size
            one.used += use.used or 0
            one.more |= use.used is None
            one.nodes.update(sample.names.node_at(where) for where in use.watchers)
        if image.rates is not None:
            one.rates = _add(one.rates, image.rates)
    return list(found.values())


def section(sample: Sample, port: int) -> Html:
    title = "Instances"
    images = sample.images
    if images is None:
        if sample.leads:
            return ui.section(title, ui.missing(title))
        return ui.section(title, ui.leader_link(title, sample, port))
    if not images:
        return ui.section(title, ui.soft("There is no image."))
    instances = _by_instance(sample, images)
    return ui.section(
        title,
        ui.soft(*_count_images(images)),
        *_broken(images),
        _by_space(sample, instances),
        _by_io(sample, instances),
    )


def _count_images(images: Sequence[Image]) -> Iterable[Part]:
    unread = sum(one.use is None and one.error is None for one in images)
    yield ui.count(len(images), "image")
    if unread:
        yield f", {unread:,} of them not looked at yet"
    yield "."


def _broken(images: Sequence[Image]) -> Iterable[Html]:
    broken = [one for one in images if one.error]
    if broken:
        first = broken[0]
        left = len(broken) - 1
        others = f"; so {ui.count(left, 'other')}" if left else ""
        yield tag(
            "p",
            tag("strong", "Cannot be opened: "),
            ui.name(f"{first.place}/{first.name}"),
            f" ({first.error}){others}.",
            class_="bad",
        )


def _instance_name(sample: Sample, one: _Instance) -> Html:
    name = ui.name(one.name)
    if one.of_none:
        return join((name, tag("span", " (of no instance)", class_="soft small")))
    if one.cluster and sample.names.cluster and one.cluster != sample.names.cluster:
        other = join((" (of ", ui.name(one.cluster), ")"))
        return join((name, tag("span", other, class_="soft small")))
    return name


def _where(one: _Instance) -> Html | None:
    return join((ui.name(node) for node in sorted(one.nodes)), ", ") or None


def _by_space(sample: Sample, instances: Sequence[_Instance]) -> Html:
    columns = (
        ui.Column("Instance"),
        ui.Column("Written", "number"),
        ui.Column("Of its size", "meter"),
        ui.Column("Size", "number"),
        ui.Column("Disks", "number"),
        ui.Column("Open on", "broad"),
    )
    sized = [one for one in instances if one.size]
    shown = heapq.nlargest(_INSTANCES, sized, key=lambda one: (one.used, one.size))
    rows = []
    for one in shown:
        known = one.used or not one.more
        at_least = "at least " if one.more else ""
        rows.append(
            (
                _instance_name(sample, one),
                f"{at_least}{ui.size(one.used)}" if known else None,
                ui.share(one.used / one.size, f"Written by {one.name}", "plain")
                if known
                else None,
                ui.size(one.size),
                str(one.disks),
                _where(one),
            )
        )
    left = len(sized) - len(shown)
    rest = sum(one.used for one in sized) - sum(one.used for one in shown)
    return join(
        (
            tag("div", class_="gap"),
            ui.table("By space", "What was written, each byte once.", columns, rows),
            ui.more(left, f"and {left:,} more, {ui.size(rest)} together."),
        )
    )


def _by_io(sample: Sample, instances: Sequence[_Instance]) -> Html:
    columns = (
        ui.Column("Instance"),
        ui.Column("Part of it all", "meter"),
        ui.Column("Read", "number"),
        ui.Column("Written", "number"),
        ui.Column("Reads", "number"),
        ui.Column("Writes", "number"),
        ui.Column("Open on", "broad"),
    )
    active = [one for one in instances if max(one.busy) > 0]
    if not active:
        quiet = "No image is known to be read or written now."
        return join((tag("h3", "By I/O"), ui.soft(quiet)))
    total = sum(one.bytes_rate for one in active)
    shown = heapq.nlargest(_INSTANCES, active, key=lambda one: one.busy)
    rows = [
        (
            _instance_name(sample, one),
            ui.share(one.bytes_rate / total, f"Of all I/O, {one.name}", "plain")
            if total
            else None,
            ui.rate(one.rates.read_bytes),
            ui.rate(one.rates.write_bytes),
            f"{one.rates.read_ops:,.0f}/s",
            f"{one.rates.write_ops:,.0f}/s",
            _where(one),
        )
        for one in shown
    ]
    left = len(active) - len(shown)
    rest = total - sum(one.bytes_rate for one in shown)
    return join(
        (
            tag("div", class_="gap"),
            ui.table("By I/O", "Between the last two readings.", columns, rows),
            ui.more(left, f"and {left:,} more, {ui.rate(max(0.0, rest))} together."),
        )
    )
