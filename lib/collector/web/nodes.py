"""The nodes with their daemons and OSDs."""

import dataclasses
import heapq
from collections.abc import Iterable, Sequence

from ganeti_ceph.collector.facts import Daemon, Device, Osd, Sample
from ganeti_ceph.collector.web import widgets as ui
from ganeti_ceph.collector.web.markup import Html, Part, escape, join, tag

#: How many of each are shown.
_NODES = 30
_OSDS = 12
_DAEMONS = 60
#: OSDs in a line of a node's map.
_LINE = 24
#: Pixels from one OSD to the next.
_STEP = 12
#: A latency in seconds that is as bad as a full OSD.
_SLOW = 0.1


@dataclasses.dataclass
class _Node:
    """What is known of a node; ``host`` is Ceph's name for it."""

    host: str
    osds: list[Osd] = dataclasses.field(default_factory=list)
    mons: list[tuple[str, bool]] = dataclasses.field(default_factory=list)
    mgrs: list[tuple[str, bool]] = dataclasses.field(default_factory=list)

    @property
    def down(self) -> int:
        return sum(not one.up for one in self.osds)

    @property
    def full(self) -> float | None:
        """How full its OSDs are together."""
        sizes = [(one.size, one.used or 0) for one in self.osds if one.size]
        total = sum(size for size, _ in sizes)
        return sum(used for _, used in sizes) / total if total else None

    def badness(self) -> tuple[int, int, float]:
        away = sum(not inside for _, inside in self.mons)
        return (
            self.down + away,
            sum(not one.inside for one in self.osds),
            self.full or 0,
        )


def _full(osd: Osd) -> float | None:
    return osd.used / osd.size if osd.size and osd.used is not None else None


def _osd_badness(osd: Osd) -> tuple[bool, bool, float]:
    slow = (_slowness(osd) or 0) / _SLOW
    return not osd.up, not osd.inside, max(_full(osd) or 0, slow)


def _slowness(osd: Osd) -> float | None:
    """Return how long an OSD takes to write, the longer of Ceph's two measures."""
    known = [one for one in (osd.commit_latency, osd.apply_latency) if one is not None]
    return max(known, default=None)


def _by_node(sample: Sample) -> list[_Node]:
    found: dict[str, _Node] = {}

    def node(host: str) -> _Node:
        return found.setdefault(host, _Node(host))

    for osd in sample.osds or ():
        node(osd.host or "").osds.append(osd)
    for mon in sample.mons or ():
        node(mon.host or mon.name).mons.append((mon.name, mon.in_quorum))
    for mgr in sample.mgrs or ():
        node(mgr.host or mgr.name).mgrs.append((mgr.name, mgr.active))
    return sorted(found.values(), key=lambda one: one.host)


def section(sample: Sample, port: int) -> Html:
    parts: list[Part] = []
    if not sample.leads:
        parts.append(ui.leader_link("Nodes", sample, port))
    if sample.osds is None:
        parts.append(ui.missing("Nodes"))
    nodes = _by_node(sample)
    shown = nodes
    if len(nodes) > _NODES:
        shown = heapq.nlargest(_NODES, nodes, key=_Node.badness)
    if nodes:
        parts.append(_node_table(sample, shown, len(nodes)))
    if sample.osds:
        parts += [_map_key(), _osd_table(sample, sample.osds)]
    elif sample.osds is not None:
        parts.append(ui.soft("There is no OSD."))
    return ui.section("Nodes", *parts)


def _node_table(sample: Sample, shown: Sequence[_Node], total: int) -> Html:
    columns = (
        ui.Column("Node"),
        ui.Column("Monitor"),
        ui.Column("Manager"),
        ui.Column("OSDs up", "number"),
        ui.Column("Full", "meter"),
        ui.Column("OSDs", "whole"),
    )
    rows = []
    for one in shown:
        name = sample.names.node_of(one.host) if one.host else "of no node"
        # Of others a follower does not know.
        known = sample.osds is not None and (sample.leads or one.host == sample.host)
        up = len(one.osds) - one.down
        counted = f"{up} of {len(one.osds)}"
        rows.append(
            (
                ui.name(name) if one.host else escape(name),
                _node_mons(one),
                _node_mgrs(one),
                tag("span", counted, class_="bad" if one.down else None)
                if known
                else None,
                ui.share(one.full, f"OSDs of {name}") if known else None,
                _map(one.osds) if known and one.osds else None,
            )
        )
    left = total - len(shown)
    about = "Each square is an OSD."
    if left:
        about = f"The worst of {total:,} nodes. {about}"
    table = ui.table(None, about, columns, rows)
    others = f"and {ui.count(left, 'more node')}, none worse."
    return join((table, ui.more(left, others)))


def _node_mons(node: _Node) -> Html | None:
    if not node.mons:
        return None
    if all(inside for _, inside in node.mons):
        return escape("in quorum")
    return tag("strong", "not in quorum", class_="bad")


def _node_mgrs(node: _Node) -> Html | None:
    if not node.mgrs:
        return None
    return escape("active" if any(active for _, active in node.mgrs) else "standby")


def _shade(osd: Osd) -> str:
    """Return what an OSD looks like on the map."""
    if not osd.up:
        return "down"
    if not osd.inside:
        return "out"
    full = _full(osd)
    if full is None:
        return "gone"
    low, high = ui.FULL
    return "good" if full < low else "warn" if full < high else "bad"


def _map(osds: Sequence[Osd]) -> Html:
    """Return a picture of a node's OSDs."""
    paths: dict[str, list[str]] = {}
    for number, osd in enumerate(sorted(osds, key=lambda one: one.id)):
        x, y = number % _LINE * _STEP, number // _LINE * _STEP
        shade = _shade(osd)
        if shade == "down":
            drawn = f"M{x + 2} {y + 2}l7 7m0-7l-7 7"
        elif shade == "out":
            drawn = f"M{x + 2} {y + 2}h7v7h-7z"
        else:
            drawn = f"M{x + 1} {y + 1}h9v9h-9z"
        paths.setdefault(shade, []).append(drawn)
    width = min(len(osds), _LINE) * _STEP
    height = -(-len(osds) // _LINE) * _STEP
    return tag(
        "svg",
        *(tag("path", d="".join(some), class_=shade) for shade, some in paths.items()),
        class_="map",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=_describe_map(osds),
    )


#: What is said of the OSDs of a shade.
_SAID = {"down": "down", "out": "out", "bad": "too full", "gone": "not known how full"}


def _describe_map(osds: Sequence[Osd]) -> str:
    said = [ui.count(len(osds), "OSD")]
    shades = [_shade(one) for one in osds]
    for shade, text in _SAID.items():
        if number := shades.count(shade):
            said.append(f"{number} {text}")
    full = [part for part in map(_full, osds) if part is not None]
    if full:
        said.append(f"the fullest {ui.percent(max(full))}")
    return ", ".join(said)


def _map_key() -> Html:
    low, high = (f"{part:.0%}".replace("%", " %") for part in ui.FULL)
    shades = (
        ("good", "M1 1h9v9h-9z", f"below {low} full"),
        ("warn", "M1 1h9v9h-9z", f"below {high}"),
        ("bad", "M1 1h9v9h-9z", "too full"),
        ("down", "M2 2l7 7m0-7l-7 7", "down"),
        ("out", "M2 2h7v7h-7z", "out: gets no data"),
        ("gone", "M1 1h9v9h-9z", "not known how full"),
    )
    return tag(
        "p",
        *(
            tag(
                "span",
                tag(
                    "svg",
                    tag("path", d=drawn, class_=shade),
                    class_="map",
                    viewBox="0 0 12 12",
                    width=12,
                    height=12,
                    aria_hidden="true",
                ),
                text,
                class_="key",
            )
            for shade, drawn, text in shades
        ),
        class_="soft small more",
    )


def _osd_table(sample: Sample, osds: Sequence[Osd]) -> Html:
    columns = (
        ui.Column("OSD"),
        ui.Column("Node", "broad"),
        ui.Column("State"),
        ui.Column("Full", "meter"),
        ui.Column("Size", "number"),
        ui.Column("Latency", "number"),
        ui.Column("PGs", "number"),
    )
    shown: Iterable[Osd] = heapq.nlargest(_OSDS, osds, key=_osd_badness)
    if len(osds) <= _OSDS:
        shown = sorted(osds, key=lambda one: one.id)
    rows = [
        (
            f"osd.{one.id}",
            ui.name(sample.names.node_of(one.host)) if one.host else None,
            _osd_state(one),
            ui.share(_full(one), f"osd.{one.id}"),
            ui.size_if_known(one.size),
            ui.latency(_slowness(one)),
            None if one.groups is None else str(one.groups),
        )
        for one in shown
    ]
    left = len(osds) - len(rows)
    if not left:
        return join((tag("div", class_="gap"), ui.table("OSDs", None, columns, rows)))
    about = "Those that are down or out, then the fullest and the slowest."
    return join(
        (
            tag("div", class_="gap"),
            ui.table("The worst OSDs", about, columns, rows),
            ui.more(left, f"and {ui.count(left, 'more OSD')}, none worse."),
        )
    )


def _osd_state(osd: Osd) -> Html:
    if osd.up and osd.inside:
        return escape("up")
    text = "up, out" if osd.up else "down" if osd.inside else "down, out"
    return tag("strong", text, class_="warn" if osd.up else "bad")


# This node


def own(sample: Sample) -> Html:
    title = "This node"
    if sample.daemons is None:
        return ui.section(title, ui.missing(title))
    if not sample.daemons:
        return ui.section(title, ui.soft("No daemon of Ceph's is on it."))
    by_name = {one.name: one for one in sample.own_devices or ()}
    columns = (
        ui.Column("Daemon"),
        ui.Column("State"),
        ui.Column("Runs for", "number"),
        ui.Column("Restarts", "number"),
        ui.Column("Memory", "number"),
        ui.Column("Version", "number"),
        ui.Column("Disks", "broad"),
    )
    ordered = sorted(
        sample.daemons,
        key=lambda one: (one.state == "active", one.kind, one.name.zfill(9)),
    )
    rows = [
        (
            f"{one.kind}.{one.name}",
            _daemon_state(one),
            None if one.started is None else ui.duration(sample.taken - one.started),
            f"{one.restarts:,}",
            ui.size_if_known(one.memory),
            one.version,
            _disks(one, by_name, sample.taken),
        )
        for one in ordered[:_DAEMONS]
    ]
    left = len(ordered) - len(rows)
    about = join(
        (
            "Daemons on ",
            ui.name(sample.node),
            ", as systemd and the kernel see them.",
        )
    )
    return ui.section(
        title,
        ui.table(None, about, columns, rows),
        ui.more(left, f"and {ui.count(left, 'more daemon')}, all active."),
    )


def _daemon_state(daemon: Daemon) -> Html:
    if daemon.state == "active":
        return escape(daemon.substate)
    kind = "warn" if daemon.state == "activating" else "bad"
    return tag("strong", f"{daemon.state} ({daemon.substate})", class_=kind)


def _disks(daemon: Daemon, known: dict[str, Device], now: float) -> Html | None:
    """Return a daemon's disks and what Ceph's device health says of them."""
    if not daemon.devices:
        return None
    told = []
    for name in daemon.devices:
        said = [name]
        device = known.get(name)
        if device and device.wear is not None:
            said.append(f"{ui.percent(device.wear)} worn")
        bad = device is not None and device.fails_before is not None
        if device and device.fails_before is not None:
            days = max(0, int((device.fails_before - now) / 86400))
            said.append(f"to fail within {ui.count(days, 'day')}")
        text = ", ".join(said)
        told.append(tag("strong", text, class_="bad") if bad else escape(text))
    return join(told, "; ")
