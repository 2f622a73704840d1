"""The collector's page for people, in a real browser; most of it needs no lab.

PICTURES=FOLDER keeps the pictures, to be looked at; one of them is doc/status.png.
"""

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, browse
from conftest import TestLab
from unit.collector import samples
from unit.collector.samples import GIB, check, daemon, sample, warns

from ganeti_ceph.collector.facts import (
    Capacity,
    Device,
    Groups,
    Image,
    ImageUse,
    Mon,
    Names,
    Osd,
    OsdCounts,
    Pool,
    Progress,
    Rates,
    Recovery,
    Sample,
)
from ganeti_ceph.collector.mond import Monitor
from ganeti_ceph.collector.publish import publish
from ganeti_ceph.collector.serve import Server

#: Seconds after which the page asks for what is new: its shortest.
INTERVAL = 2.0
TIB = 2**40

#: Everything that shows text, and what is behind it, as the browser reckons it; the
#: answer is what has not the contrast that WCAG's level AA asks for.
CONTRAST = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(one => one / 255).map(one =>
    one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const node of document.body.querySelectorAll("*")) {
    const own = [...node.childNodes].some(one =>
      one.nodeType === 3 && one.textContent.trim());
    if (!own || ["SCRIPT", "METER", "PROGRESS"].includes(node.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${node.textContent.slice(0, 30)}: ${ratio}`);
  }
  return bad;
})()
"""


TEXT = "document.body.innerText"

#: What is wider than its place.
WIDER = """
[...document.querySelectorAll("section, table, td, th, p, li, dd")].filter(one =>
  one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1
).map(one => one.outerHTML.slice(0, 100))
"""


def cluster(nodes: int, each: int, images: int) -> Sample:
    """A cluster in which an OSD is down, one out, one full, and data on its way."""
    numbers = range(1, nodes + 1)
    names = Names(
        "cluster.example.com",
        tuple((f"10.0.{one // 250}.{one % 250}", f"node{one}") for one in numbers),
        tuple((f"node{one}", f"node{one}.example.com") for one in numbers),
    )
    osds = [
        Osd(
            *(one, f"node{one // each + 1}", True, True, "ssd", 4 * TIB),
            *(int(4 * TIB * (0.55 + one * 37 % 17 / 100)), 90 + one * 13 % 40),
            *(0.003 + one % 5 / 1000, 0.003),
        )
        for one in range(nodes * each)
    ]
    osds[8] = dataclasses.replace(
        osds[8], up=False, commit_latency=None, apply_latency=None
    )
    osds[14] = dataclasses.replace(osds[14], inside=False, used=0, groups=0)
    osds[21] = dataclasses.replace(osds[21], used=88 * TIB // 25, commit_latency=0.061)
    used = sum(one.used or 0 for one in osds)
    total = sum(one.size or 0 for one in osds)
    kinds = ("web", "db", "mail", "build", "git", "cache", "ci", "wiki", "backup")
    made = tuple(_image(one, kinds[one % 9], nodes) for one in range(images))
    return sample(
        taken=time.time(),
        names=names,
        health=warns(
            check("OSD_DOWN", "1 osds down", details=("osd.8 (host=node2) is down",)),
            check(
                "OSD_NEARFULL", "1 nearfull osd(s)", details=("osd.21 is near full",)
            ),
            check(
                "PG_DEGRADED",
                "Degraded data redundancy: 31820/1260021 objects degraded (2.525%), 57"
                " pgs degraded",
                details=("pg 2.1 is active+undersized+degraded",),
            ),
        ),
        mons=tuple(
            Mon(f"node{one}", f"10.0.0.{one}", True, f"node{one}", "18.2.7")
            for one in (1, 2, 3)
        ),
        groups=Groups(
            1024,
            (
                ("active+clean", 967),
                ("active+undersized+degraded+remapped+backfilling", 41),
                ("active+undersized+degraded+remapped+backfill_wait", 16),
            ),
            0,
            Recovery(1_260_021, 31_820, 5_111, 0, 112.0, 4.5e8),
            Rates(2.1e8, 4.4e8, 5210, 11_800),
            (Progress("Rebalancing after osd.8 marked out", 0.38),),
        ),
        counts=OsdCounts(len(osds), len(osds) - 1, len(osds) - 1),
        capacity=Capacity(total, used, total - used),
        pools=(
            Pool(
                *("rbd", 1, used * 3 // 10, 1 << 20, used * 9 // 10, used // 5, None),
                *(None, 1, 2, 3, 4, 3, 2, 512, ("rbd",)),
            ),
            Pool(
                *("archive", 3, used // 30, 1 << 18, used // 10, used // 5, 20 * TIB),
                *(None, 1, 2, 3, 4, 3, 2, 512, ("rbd",)),
            ),
        ),
        osds=tuple(osds),
        daemons=tuple(
            daemon(kind, name, memory=700 * 2**20, devices=disks)
            for kind, name, disks in (
                ("mon", "node1", ()),
                ("mgr", "node1", ()),
                ("osd", "0", ("sdb",)),
                ("osd", "1", ("sdc",)),
            )
        ),
        devices=(
            Device("ACME_1", "node1", "sdb", ("osd.0",), None, None, 0.07),
            Device("ACME_2", "node1", "sdc", ("osd.1",), 0.0, time.time() + 3e6, 0.81),
        ),
        images=(
            *made,
            Image("rbd", "", "golden-image-of-nobody-in-particular-" + "x" * 60),
        ),
    )


def _image(number: int, kind: str, nodes: int) -> Image:
    size = (20, 50, 100, 500)[number * 7 % 4] * GIB
    use = ImageUse(
        time.time(),
        size,
        int(size * (0.1 + number * 31 % 83 / 100)),
        (f"10.0.0.{number % nodes + 1}",),
        None,
        "cluster.example.com",
        f"{kind}{number // 9 + 1}.example.com",
        "0",
    )
    busy = 2e7 / (1 + number * 11 % 29)
    rates = Rates(busy, 2.5 * busy, busy / 4e4, busy / 2e4) if number % 2 else None
    return Image("rbd", "", f"{number:08x}.rbd.disk0", use, None, None, rates)


class _NoMonitor(Monitor):
    async def ask(self, path: str) -> list[Any]:
        return []


class Service:
    """The collector's server without the rest of it."""

    def __init__(self) -> None:
        self.address = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._server = Server(_NoMonitor())
        listening = await self._server.start("127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/status"
        self._ready.set()
        await self._end.wait()
        listening.close()

    def show(self, made: Sample) -> None:
        published = publish(made, INTERVAL, 1816)
        self._loop.call_soon_threadsafe(self._server.publish, published)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)


@pytest.fixture(scope="module", name="tab")
def _tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browse(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(name="service")
def _service(tab: Tab) -> Iterator[Service]:
    service = Service()
    yield service
    # Or it asks one that is gone.
    tab.open("about:blank")
    service.stop()


SHAPES = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]


@pytest.mark.parametrize(("width", "scheme"), SHAPES)
@pytest.mark.parametrize("kind", ["cluster", "large", "silent", "follower"])
def test_page_fits_its_window_and_can_be_read(
    tab: Tab, service: Service, tmp_path: Path, kind: str, width: int, scheme: str
) -> None:
    made = {
        "cluster": lambda: cluster(5, 6, 60),
        "large": lambda: cluster(150, 24, 10_000),
        "silent": samples.silent,
        "follower": lambda: dataclasses.replace(cluster(5, 6, 0), leader="node3"),
    }[kind]()
    service.show(dataclasses.replace(made, taken=time.time()))
    tab.window(width, 900, scheme)
    tab.open(service.address)
    assert tab.complaints() == []
    assert tab.value("document.documentElement.scrollWidth") <= width
    # Nor is anything cut off that is wider than its place.
    assert tab.value(WIDER) == []
    assert tab.value(CONTRAST) == []
    dark = "parseInt(getComputedStyle(document.body).backgroundColor.slice(4)) < 50"
    assert tab.value(dark) == (scheme == "dark")
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    picture = folder / f"{kind}-{width}-{scheme}.png"
    tab.picture(picture)
    assert picture.stat().st_size > 20_000


@pytest.mark.parametrize("width", [360, 1280])
def test_accessibility_tree_has_all_that_is_seen(
    tab: Tab, service: Service, width: int
) -> None:
    service.show(cluster(5, 6, 60))
    tab.window(width, 900, "light")
    tab.open(service.address)
    tree = tab.accessible()
    roles = [role for role, _ in tree]
    for one in ("banner", "main", "contentinfo"):
        assert roles.count(one) == 1, one
    assert ("navigation", "Parts of this page") in tree
    headings = [name for role, name in tree if role == "heading"]
    assert headings[0] == "Storage of cluster.example.com"
    regions = [name for role, name in tree if role == "region"]
    wanted = ["Health", "Capacity", "Recovery", "Nodes", "Instances", "This node"]
    assert regions == wanted
    # A narrow window shows rows as cards; they are rows of a table all the same.
    assert roles.count("table") == 7
    assert roles.count("columnheader") > 30
    assert ("rowheader", "osd.8") in tree
    meters = [name for role, name in tree if role == "meter"]
    assert "osd.21" in meters
    assert all(meters)
    bars = [name for role, name in tree if role == "progressbar"]
    assert "Rebalancing after osd.8 marked out: 38\N{NO-BREAK SPACE}%" in bars
    pictures = [name for role, name in tree if role in ("image", "img")]
    assert any("6 OSDs, 1 down" in name for name in pictures)


def test_page_renews_itself_and_keeps_what_its_reader_did(
    tab: Tab, service: Service
) -> None:
    service.show(cluster(5, 6, 60))
    tab.window(1280, 900, "light")
    tab.open(service.address)
    tab.value("window.kept = true; document.querySelector('#OSD_DOWN-d').open = true")
    tab.value("document.querySelector('#OSD_DOWN-s').focus()")
    tab.value("scrollTo(0, 300)")
    worse = cluster(5, 6, 60)
    assert worse.health is not None
    worse = dataclasses.replace(
        worse, health=dataclasses.replace(worse.health, status="HEALTH_ERR")
    )
    service.show(worse)
    tab.until("document.querySelector('#state').textContent === 'Error'")
    assert tab.value("document.title.startsWith('Error')")
    # A screen reader is told, once.
    assert tab.value("document.querySelector('#told').textContent") == "Storage: Error"
    assert tab.value("window.kept && document.querySelector('#OSD_DOWN-d').open")
    assert tab.value("document.activeElement.id") == "OSD_DOWN-s"
    assert tab.value("scrollY") == 300
    assert tab.complaints() == []


def test_page_says_that_it_is_old(tab: Tab, service: Service) -> None:
    service.show(dataclasses.replace(sample(), taken=time.time() - 1000))
    tab.open(service.address)
    note = "document.querySelector('#note').textContent"
    assert tab.value(note) == "The collector has read nothing new for a while."
    assert tab.value("document.querySelector('#age').textContent") == "16 min ago"
    service.show(dataclasses.replace(sample(), taken=time.time()))
    tab.until(f"{note} === ''")
    service.stop()
    tab.until(f"{note}.startsWith('No answer from the collector since')", 30)


def test_page_can_be_paused(tab: Tab, service: Service) -> None:
    service.show(dataclasses.replace(sample(), taken=time.time()))
    tab.open(service.address)
    tab.value("document.querySelector('button').click()")
    assert tab.value("document.querySelector('button').textContent") == "Go on"
    service.show(samples.silent())
    time.sleep(2 * INTERVAL)
    assert tab.value("document.querySelector('#state').textContent") == "Healthy"
    tab.value("document.querySelector('button').click()")
    tab.until("document.querySelector('#state').textContent === 'Not known'")


def test_page_is_whole_without_scripts(tab: Tab, service: Service) -> None:
    service.show(cluster(5, 6, 60))
    tab.scripts(False)
    try:
        tab.open(service.address)
        names = [name for role, name in tab.accessible() if role == "rowheader"]
    finally:
        tab.scripts(True)
    assert {"osd.21", "rbd", "node5.example.com", "mon.node1"} <= set(names)


def test_keyboard_leads_to_the_content_first(tab: Tab, service: Service) -> None:
    service.show(cluster(5, 6, 60))
    tab.window(360, 900, "light")
    tab.open(service.address)
    tab.press("Tab")
    assert tab.value("document.activeElement.textContent") == "To the content"
    tab.press("Enter")
    tab.until("document.activeElement.id === 'content'")


@contextlib.contextmanager
def among(lab: TestLab, folder: Path) -> Iterator[Tab]:
    """Have a browser beside the nodes of a lab, which knows their names."""
    inside = ["nsenter", f"--net=/run/ganeti-ceph-lab/{lab.name}/switch"]
    address = ["ip", "address", "{}", "10.77.0.251/24", "dev", "switch"]
    names = ",".join(f"MAP node{one}.lab.example 10.77.0.{one}" for one in (1, 2, 3))
    subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
    subprocess.run([*inside, *(one.format("add") for one in address)], check=True)
    try:
        with browse(folder, f"--host-resolver-rules={names}", inside=inside) as tab:
            yield tab
    finally:
        subprocess.run([*inside, *(one.format("del") for one in address)], check=True)


@pytest.mark.slow
def test_pages_of_the_service_lead_to_the_leader_s(
    lab: TestLab, tmp_path: Path
) -> None:
    with among(lab, tmp_path) as tab:
        tab.window(1280, 900, "light")
        for node in ("node2", "node3"):
            tab.open(f"http://{node}.lab.example:1816/status")
            assert tab.complaints() == []
            assert f"Seen from {node}.lab.example" in tab.value(TEXT)
            leader = tab.value("document.querySelector('#nodes a').href")
            assert leader == "http://node1.lab.example:1816/status"
        tab.open(leader)
        assert "Seen from node1.lab.example" in tab.value(TEXT)
        tree = tab.accessible()
        headers = {name for role, name in tree if role == "rowheader"}
        assert {"osd.0", "osd.1", "osd.2", "mon.node1", "rbd"} <= headers
        assert {f"node{one}.lab.example" for one in (1, 2, 3)} <= headers
        folder = Path(os.environ.get("PICTURES") or tmp_path)
        tab.picture(folder / "lab.png")
        # It is what is now.
        age = "parseInt(document.querySelector('#age').textContent)"
        assert tab.value(age) < 40
        lab.run("node1", "ceph osd set noout")
        try:
            tab.until("document.querySelector('#state').textContent === 'Warning'", 60)
            assert "OSDMAP_FLAGS" in tab.value(TEXT)
        finally:
            lab.run("node1", "ceph osd unset noout")
        tab.until("document.querySelector('#state').textContent === 'Healthy'", 60)
