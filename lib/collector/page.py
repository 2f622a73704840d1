"""A sample as a page for people, ``GET /status``: :func:`render`.

It has a bounded length whatever the size of the cluster: of what there are many, the
worst or the largest are shown and the others counted.
"""

import urllib.parse
from collections.abc import Iterable

from ganeti_ceph import __version__
from ganeti_ceph.collector.facts import Sample
from ganeti_ceph.collector.web import data, health, instances, look, nodes
from ganeti_ceph.collector.web import widgets as ui
from ganeti_ceph.collector.web.markup import Html, join, tag

#: What a client is told of the page, together with :data:`look.POLICY`.
CONTENT_TYPE = "text/html; charset=utf-8"

_SECTIONS = ("Health", "Capacity", "Recovery", "Nodes", "Instances", "This node")


def render(sample: Sample, interval: float, port: int) -> str:
    """Return the page of a sample, whole and with nothing to be loaded.

    It is to be served as it is, with :data:`CONTENT_TYPE` and, as
    ``Content-Security-Policy``, :data:`look.POLICY`; it reckons its age itself and asks
    for its own address again each ``interval`` seconds.  ``port`` is where the leader's
    collector serves, for a link to its page.
    """
    kind, state = health.state(sample)
    cluster = sample.names.cluster or "this cluster"
    sections = [
        health.section(sample),
        tag("div", data.capacity(sample), data.recovery(sample), class_="pair"),
        nodes.section(sample, port),
        instances.section(sample, port),
        nodes.own(sample),
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", f"{state} - storage of {cluster}"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href=_icon_address(kind)),
        tag(
            "noscript",
            tag("meta", http_equiv="refresh", content=str(max(30, round(interval)))),
        ),
        tag("style", Html(look.STYLE)),
    )
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", tag("div", *_header(sample, kind, state), class_="frame")),
        tag(
            "div",
            tag("nav", _tabs(), aria_label="Parts of this page"),
            tag(
                "main",
                *sections,
                id="content",
                tabindex="-1",
                data_taken=f"{sample.taken:.3f}",
                data_interval=f"{interval:g}",
            ),
            _footer(sample, interval),
            class_="frame",
        ),
        tag("script", Html(look.SCRIPT)),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def _icon_address(kind: str) -> str:
    drawn = tag("path", d=look.ICONS[kind], fill=look.COLOURS[kind])
    picture = tag("svg", drawn, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 24 24")
    return "data:image/svg+xml," + urllib.parse.quote(picture)


def _header(sample: Sample, kind: str, state: str) -> Iterable[Html]:
    cluster = sample.names.cluster
    title = join(("Storage of ", ui.name(cluster))) if cluster else "Storage"
    seen = join(
        (
            "Seen from ",
            ui.name(sample.node),
            ", read at ",
            ui.moment(sample.taken, "%H:%M:%S UTC"),
            ", ",
            tag("span", "just now", id="age"),
        )
    )
    yield tag(
        "div",
        tag("h1", title),
        tag("p", seen, class_="soft small"),
        id="head",
        class_="title",
    )
    yield tag(
        "div",
        tag(
            "span",
            ui.icon(kind),
            tag("span", state, id="state"),
            class_=f"state {kind}",
        ),
        id="badge",
    )
    yield tag("div", id="place")
    yield tag("p", id="note", role="status", class_="bad")
    yield tag("p", id="told", role="status", class_="unseen")


def _tabs() -> Html:
    links = (tag("a", one, href=f"#{ui.anchor(one)}") for one in _SECTIONS)
    return tag("ul", *(tag("li", one) for one in links))


def _footer(sample: Sample, interval: float) -> Html:
    known = f"Storage cluster {sample.fsid}. " if sample.fsid else ""
    return tag(
        "footer",
        known,
        f"Read in {sample.seconds:.2f} s, each {interval:g} s, by ganeti-ceph"
        f" {__version__}. ",
        "For programs: ",
        tag("a", "the reports", href="/1/report/all", id="reports"),
        " and ",
        tag("a", "the metrics", href="/metrics", id="metrics"),
        ".",
    )
