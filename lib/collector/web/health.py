"""How the storage cluster is, and what is not known of it."""

from ganeti_ceph import diagnose
from ganeti_ceph.collector.facts import Check, Groups, Sample
from ganeti_ceph.collector.web import widgets as ui
from ganeti_ceph.collector.web.markup import Html, Part, escape, tag

_CHECKS = 40
_DETAILS = 20

_STATES = {
    "HEALTH_OK": ("good", "Healthy"),
    "HEALTH_WARN": ("warn", "Warning"),
    "HEALTH_ERR": ("bad", "Error"),
}
_UNKNOWN = ("gone", "Not known")

#: The parts of a sample, as they are called here.
_PARTS = {
    "mons": "monitors",
    "mgrs": "managers",
    "counts": "numbers of OSDs",
    "groups": "placement groups",
    "osds": "OSDs",
    "daemons": "this node's daemons",
    "devices": "this node's disks",
}


def state(sample: Sample) -> tuple[str, str]:
    if sample.health is None:
        return _UNKNOWN
    return _STATES.get(sample.health.status, ("bad", sample.health.status))


def section(sample: Sample) -> Html:
    parts: list[Part] = []
    if sample.health is None:
        parts.append(tag("p", "How the storage cluster is, is not known."))
    else:
        kind, _ = state(sample)
        checks = sorted(
            sample.health.checks,
            key=lambda one: (one.muted, one.severity != "HEALTH_ERR", one.name),
        )
        if not checks:
            happy = "Ceph finds nothing to complain about."
            parts.append(ui.soft(happy if kind == "good" else sample.health.status))
        else:
            shown = [_check(one) for one in checks[:_CHECKS]]
            parts.append(tag("ul", *shown, class_="checks"))
            left = len(checks) - len(shown)
            parts.append(ui.more(left, f"and {ui.count(left, 'more check')}."))
    parts += [_gaps(sample), _tiles(sample)]
    return ui.section("Health", *parts)


def _check(check: Check) -> Html:
    kind, word = _STATES.get(check.severity, ("bad", check.severity))
    if check.muted:
        kind, word = "gone", f"{word}, muted"
    remedy = diagnose.remedy(check.name)
    details: Part = None
    if check.details:
        shown = [tag("li", one) for one in check.details[:_DETAILS]]
        left = len(check.details) - len(shown)
        if left:
            shown.append(tag("li", f"and {left:,} more"))
        many = ui.count(len(check.details), "detail")
        details = tag(
            "details",
            tag("summary", many, id=f"{check.name}-s"),
            tag("ul", *shown),
            id=f"{check.name}-d",
        )
    return tag(
        "li",
        tag(
            "p",
            tag("strong", f"{word}: "),
            check.message,
            " ",
            tag("code", check.name),
        ),
        tag("p", tag("strong", "What to do: "), f"{remedy}."),
        details,
        class_=kind,
    )


def _tiles(sample: Sample) -> Html | None:
    known = (sample.mons, sample.mgrs, sample.counts, sample.groups)
    if all(one is None for one in known):
        return None
    tiles = (
        ("Monitors", _mons(sample)),
        ("Managers", _mgrs(sample)),
        ("OSDs", _osd_counts(sample)),
        ("Placement groups", _groups(sample.groups)),
        ("Clients", _clients(sample.groups)),
    )
    return tag(
        "dl",
        *(tag("div", tag("dt", title), tag("dd", *value)) for title, value in tiles),
        class_="tiles",
    )


def _tile(value: str, about: Part = None, kind: str = "soft") -> list[Html]:
    return [escape(value), tag("span", about, class_=kind) if about else Html()]


def _mons(sample: Sample) -> list[Html]:
    if sample.mons is None:
        return _tile("Not known")
    away = [one.name for one in sample.mons if not one.in_quorum]
    value = f"{len(sample.mons) - len(away)} of {len(sample.mons)}"
    if away:
        return _tile(value, f"not in quorum: {', '.join(away)}", "warn")
    return _tile(value, "in quorum")


def _mgrs(sample: Sample) -> list[Html]:
    if sample.mgrs is None:
        return _tile("Not known")
    active = [one for one in sample.mgrs if one.active]
    spare = len(sample.mgrs) - len(active)
    if not active:
        return _tile("None active", ui.count(spare, "standby"), "bad")
    standby = f"{spare} on standby" if spare else "none on standby"
    return _tile(f"{len(active)} active", f"{active[0].name}, {standby}")


def _osd_counts(sample: Sample) -> list[Html]:
    counts = sample.counts
    if counts is None:
        return _tile("Not known")
    down, out = counts.total - counts.up, counts.total - counts.inside
    value = f"{counts.up:,} of {counts.total:,} up"
    told = ([f"{down:,} down"] if down else []) + ([f"{out:,} out"] if out else [])
    if told:
        return _tile(value, ", ".join(told), "bad" if down else "warn")
    return _tile(value, "all of them in")


def _groups(groups: Groups | None) -> list[Html]:
    if groups is None:
        return _tile("Not known")
    clean = dict(groups.states).get("active+clean", 0)
    if groups.inactive:
        return _tile(f"{groups.total:,}", f"{groups.inactive:,} serve nobody", "bad")
    if clean == groups.total:
        return _tile(f"{groups.total:,}", "all active and clean")
    return _tile(f"{groups.total:,}", f"{clean:,} active and clean", "warn")


def _clients(groups: Groups | None) -> list[Html]:
    if groups is None:
        return _tile("Not known")
    clients = groups.clients
    operations = clients.read_ops + clients.write_ops
    return _tile(
        f"{operations:,.0f} ops/s",
        f"{ui.rate(clients.read_bytes)} read, {ui.rate(clients.write_bytes)} written",
    )


def _gaps(sample: Sample) -> Html | None:
    """Return what is not known, one line for each reason."""
    if not sample.gaps:
        return None
    reasons: dict[tuple[str, float | None], list[str]] = {}
    for gap in sample.gaps:
        reasons.setdefault((gap.reason, gap.since), []).append(
            _PARTS.get(gap.part, gap.part)
        )
    lines = []
    for (reason, since), parts in reasons.items():
        last = escape("never known") if since is None else Html("last known at ")
        lines.append(
            tag(
                "li",
                tag("strong", "Not known: "),
                f"{', '.join(parts)} (",
                last,
                None if since is None else ui.moment(since),
                f"): {reason}",
            )
        )
    return tag("ul", *lines, class_="checks")
