"""The page for people."""

import base64
import dataclasses
import hashlib
import html.parser
import itertools
import re
import time
from collections import Counter
from typing import Any

import pytest
from collector.samples import (
    GIB,
    GROUPS,
    MOVING,
    NOW,
    check,
    daemon,
    image,
    osd,
    sample,
    silent,
    warns,
)
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.collector import page
from ganeti_ceph.collector.facts import (
    Capacity,
    Device,
    Gap,
    Health,
    Image,
    ImageUse,
    Mgr,
    Mon,
    Names,
    OsdCounts,
    Pool,
    Progress,
    Rates,
    Sample,
)
from ganeti_ceph.collector.publish import publish
from ganeti_ceph.collector.web import look
from ganeti_ceph.collector.web.markup import Html, escape, tag

VOID = {"br", "link", "meta"}
#: Elements without which a screen reader's user is lost.
LANDMARKS = {"header", "nav", "main", "footer"}


class Page(html.parser.HTMLParser):
    """A page that is read strictly: what is not well formed fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        #: The raw text of style and script.
        self.raw: dict[str, str] = {}
        self._open: list[str] = []
        assert text.startswith("<!DOCTYPE html>\n<html")
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            self.raw[self._open[-1]] = data
        else:
            self.words.append(data)

    @property
    def said(self) -> str:
        """All text, with single spaces."""
        return " ".join("".join(self.words).split())

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def shown(made: Sample) -> Page:
    return Page(page.render(made, 15.0, 1816))


def moving() -> Sample:
    """A cluster with all that can be wrong."""
    return sample(
        health=warns(
            check("OSD_DOWN", "1 osds down"),
            check("PG_DAMAGED", "bad", severity="HEALTH_ERR"),
            check("NEWER_THAN_US", "news", details=()),
            check("OSDMAP_FLAGS", "noout set", muted=True),
        ),
        groups=MOVING,
        counts=OsdCounts(3, 2, 2),
        osds=(osd(0, up=False), osd(1, inside=False), osd(2, used=9 * GIB)),
        daemons=(
            daemon(
                "osd", "0", state="failed", substate="failed", pid=None, started=None
            ),
            daemon("mon", "node1"),
        ),
        images=(image(0), Image("rbd", "ns", "lost", error="no such file"), image(1)),
    )


SAMPLES = {
    "healthy": sample(),
    "moving": moving(),
    "silent": silent(),
    "follower": sample(
        host="node2", osds=(osd(1),), images=None, daemons=(daemon("osd", "1"),)
    ),
    "empty": sample(
        osds=(),
        images=(),
        pools=(),
        daemons=(),
        counts=OsdCounts(0, 0, 0),
        capacity=Capacity(0, 0, 0),
        mgrs=(),
    ),
}


@pytest.fixture(params=SAMPLES, name="any_page")
def _any_page(request: pytest.FixtureRequest) -> Page:
    return shown(SAMPLES[request.param])


def test_page_can_be_found_one_s_way_in(any_page: Page) -> None:
    counted = Counter(any_page.tags)
    assert all(counted[one] == 1 for one in (*LANDMARKS, "h1", "title"))
    assert any_page.all("html") == [{"lang": "en"}]
    levels = [int(one[1]) for one in any_page.tags if re.fullmatch("h[1-6]", one)]
    assert levels[0] == 1
    steps = itertools.pairwise(levels)
    assert all(after - before <= 1 for before, after in steps)
    assert all("aria-labelledby" in one for one in any_page.all("section"))


def test_ids_are_unique_and_references_lead_somewhere(any_page: Page) -> None:
    ids = [at["id"] for _, at in any_page.elements if "id" in at]
    assert len(set(ids)) == len(ids)
    for _, attributes in any_page.elements:
        if address := attributes.get("aria-labelledby"):
            assert address in ids
        address = attributes.get("href") or ""
        assert not address.startswith("#") or address[1:] in ids


def test_tables_can_be_read_aloud(any_page: Page) -> None:
    counted = Counter(any_page.tags)
    assert counted["caption"] == counted["table"] == counted["thead"]
    assert all(one["scope"] in ("row", "col") for one in any_page.all("th"))
    for one in (*any_page.all("meter"), *any_page.all("progress")):
        assert one.get("aria-label") or one.get("aria-labelledby")
        assert 0 <= float(one["value"] or "") <= 1
    for one in any_page.all("svg"):
        assert one.get("aria-hidden") == "true" or one["aria-label"]


def test_nothing_is_loaded_from_elsewhere(any_page: Page) -> None:
    for _, attributes in any_page.elements:
        assert not {"src", "srcset", "style", "background"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert [one["rel"] for one in any_page.all("link")] == ["icon"]
    assert str(any_page.all("link")[0]["href"]).startswith("data:")
    assert "@import" not in any_page.raw["style"]
    assert "url(" not in any_page.raw["style"]


def test_policy_allows_what_is_in_the_page_and_no_more(any_page: Page) -> None:
    allowed = dict(one.split(" ", 1) for one in look.POLICY.split("; "))
    assert allowed["default-src"] == "'none'"
    for element in ("style", "script"):
        digest = hashlib.sha256(any_page.raw[element].encode()).digest()
        wanted = f"'sha256-{base64.b64encode(digest).decode()}'"
        assert allowed[f"{element}-src"] == wanted
        assert len(any_page.all(element)) == 1


#: Also what HTML cannot say.
TEXTS = st.text(st.characters(), min_size=1, max_size=20) | st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        "<!--",
        "&lt;",
        "\" onload='x",
        "]]>",
        "\ud800",
    ]
)


def named(text: str) -> Sample:
    """A sample in which everything that has a name has this one."""
    use = ImageUse(NOW, GIB, 5, (text,), text, text, text, text)
    rates = Rates(1.0, 1.0, 1.0, 1.0)
    return sample(
        host=text,
        leader=text,
        fsid=text,
        names=Names(text, (), ()),
        health=warns(check(text, text, severity=text, details=(text,))),
        mons=(Mon(text, text, False, text, text),),
        mgrs=(Mgr(text, True, text, text),),
        groups=dataclasses.replace(
            MOVING, states=((text, 1),), progress=(Progress(text, 0.5),)
        ),
        pools=(
            Pool(
                *(
                    text,
                    1,
                    GIB,
                    256,
                    GIB,
                    GIB,
                    GIB,
                    None,
                    1,
                    2,
                    3,
                    4,
                    3,
                    2,
                    128,
                    (text,),
                )
            ),
        ),
        osds=(osd(0, host=text, device_class=text),),
        daemons=(
            daemon(
                text, text, state=text, substate=text, version=text, devices=(text,)
            ),
        ),
        devices=(Device(text, text, text, (text,), NOW, NOW, 0.5),),
        images=(
            Image(text, text, text, use, None, None, rates),
            Image(text, text, f"{text}2", None, text, None, rates),
        ),
        gaps=(Gap(text, text, NOW),),
    )


@given(TEXTS)
def test_no_name_becomes_markup(text: str) -> None:
    found = shown(named(text))
    assert found.tags == shown(named("name")).tags
    found.text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", found.text)
    if re.fullmatch(r"[!-~]+", text):
        assert text in found.said


@given(TEXTS)
def test_attributes_end_where_they_end(text: str) -> None:
    made = Page(f"<!DOCTYPE html>\n<html>{tag('p', text, aria_label=text)}</html>")
    (attributes,) = made.all("p")
    assert list(attributes) == ["aria-label"]


def test_markup_stays_markup_and_nothing_is_nothing() -> None:
    assert tag("p", Html("<b>"), None, "<b>") == "<p><b>&lt;b&gt;</p>"
    assert tag("a", hidden=True, open=False, title=None, class_="x") == (
        '<a hidden class="x"></a>'
    )
    assert escape("a\0b") == "a\N{REPLACEMENT CHARACTER}b"


def test_state_is_said_in_words_and_in_the_title() -> None:
    for status, word in (
        ("HEALTH_OK", "Healthy"),
        ("HEALTH_WARN", "Warning"),
        ("HEALTH_ERR", "Error"),
        ("HEALTH_NEW", "HEALTH_NEW"),
    ):
        found = shown(sample(health=Health(status, ())))
        assert f"<title>{word} - storage of cluster.example" in found.text
        assert f'id="state">{word}<' in found.text


def test_checks_have_a_remedy_the_worst_first_the_muted_last() -> None:
    said = shown(moving()).said
    order = ["Error: bad", "Warning: news", "Warning: 1 osds down", "muted: noout"]
    places = [said.index(one) for one in order]
    assert places == sorted(places)
    assert said.count("What to do:") == 4
    assert "What to do: 'gnt-storage repair' starts it" in said
    # Of one that nobody here knows, too.
    assert "'ceph health detail' tells more of it" in said


def test_what_is_not_known_is_said_with_the_reason_and_since_when() -> None:
    found = shown(silent("no answer in 10 s"))
    assert "Storage" in found.said
    assert 'id="state">Not known<' in found.text
    assert found.said.count("no answer in 10 s") == 1
    assert "health, monitors, managers" in found.said
    assert "last known at 2026-11-21" in found.said
    # Its own daemons it knows.
    assert "osd.0" in found.said
    never = sample(groups=None, gaps=(Gap("groups", "half an answer", None),))
    assert "placement groups (never known): half an answer" in shown(never).said


def test_follower_shows_its_own_and_leads_to_the_leader() -> None:
    found = shown(SAMPLES["follower"])
    links = [one["href"] for one in found.all("a")]
    assert links.count("//node1.example:1816/status") == 2
    assert "osd.1" in found.said
    assert "osd.0" not in found.said
    # What it is not told of others is not "0 of 0".
    assert "0 of 0" not in found.said


def test_recovery_has_a_bar_and_the_time_left() -> None:
    found = shown(sample(groups=MOVING))
    assert "73 % in place: of 300 copies of objects, 60 of them missing" in found.said
    assert "20 at a wrong place" in found.said
    assert "About 10 s left at 8 objects/s" in found.said
    assert "1 object without any copy" in found.said
    assert [one["value"] for one in found.all("progress")] == ["0.7333", "0.500"]
    stuck = dataclasses.replace(MOVING.recovery, objects_rate=0.0)
    still = shown(sample(groups=dataclasses.replace(MOVING, recovery=stuck)))
    assert "Nothing moves now" in still.said
    assert "All copies of objects are where they belong" in shown(sample()).said
    lost = dataclasses.replace(GROUPS, states=(("stale+active", 128),), inactive=128)
    said = shown(sample(groups=lost)).said
    assert "where they belong" not in said
    assert "Nobody tells what is missing in 128 placement groups" in said


def test_osds_of_which_nobody_knows_how_full_they_are_are_not_empty() -> None:
    osds = (osd(0, used=None, size=None), osd(1, host="node1", used=None, size=None))
    found = shown(sample(osds=(osds[0], dataclasses.replace(osds[1], id=7))))
    labels = [one["aria-label"] for one in found.all("svg") if one.get("role") == "img"]
    assert labels == ["2 OSDs, 2 not known how full"]
    assert "not known how full" in found.said


@pytest.mark.parametrize("name", SAMPLES)
def test_links_can_have_the_focus_back(name: str) -> None:
    """What is not replaced when the page is renewed has no need of it."""
    links = shown(SAMPLES[name]).all("a")
    tabs = itertools.dropwhile(lambda one: one["href"] != "#this-node", links)
    replaced = list(tabs)[1:]
    assert len(replaced) >= 2
    assert all(one.get("id") for one in replaced)


def test_capacity_is_that_of_pools_and_of_osds() -> None:
    found = shown(sample())
    assert "For data: 1.0 GiB of 10.0 GiB used (10 %)" in found.said
    assert "On the OSDs: 3.0 GiB of 30.0 GiB used (10 %)" in found.said
    assert "Quota" not in found.said
    quota = dataclasses.replace(sample().pools[0], quota_bytes=2 * GIB)
    found = shown(sample(pools=(quota,)))
    assert "rbd 50 % 50 % 1.0 GiB 1.0 GiB 3 2.0 GiB" in spoken(found)


def spoken(found: Page) -> str:
    """All text, with a space where an element ends."""
    return " ".join(" ".join(found.words).split())


def test_osds_that_are_down_out_full_and_slow_come_first() -> None:
    many = [osd(number, host="node1") for number in range(100)]
    many[50] = osd(50, host="node1", up=False)
    many[60] = osd(60, host="node1", inside=False)
    many[70] = osd(70, host="node1", commit_latency=0.2)
    many[80] = osd(80, host="node1", used=9 * GIB)
    found = shown(sample(osds=tuple(many)))
    order = re.findall(r"osd\.(\d+) node1\.example", spoken(found))
    assert order[:4] == ["50", "60", "70", "80"]
    assert "and 88 more OSDs, none worse" in found.said
    (label,) = (
        one["aria-label"] for one in found.all("svg") if one.get("role") == "img"
    )
    assert label == "100 OSDs, 1 down, 1 out, 1 too full, the fullest 90 %".replace(
        " %", "\N{NO-BREAK SPACE}%"
    )


def test_daemons_that_do_not_run_come_first() -> None:
    said = spoken(shown(moving()))
    assert "Disks osd.0 failed (failed) - 0" in said
    assert "mon.node1 running 1 min 0 128.0 MiB 18.2.7 sdb, 25 % worn" in said


def test_disk_that_will_fail_is_told() -> None:
    device = Device("A", "node1", "sdb", (), NOW, NOW + 10 * 86400, None)
    assert "sdb, to fail within 10 days" in shown(sample(devices=(device,))).said


def instance_rows(found: Page) -> list[list[str]]:
    """The names in the two tables of instances."""
    said = spoken(found)
    _, _, rest = said.partition("By space")
    space, _, io = rest.partition("By I/O")
    return [re.findall(r"(\w+)\.example [\d<a]", part) for part in (space, io)]


def grown(number: int, used: int | None, rate: float, **changes: Any) -> Image:
    made = image(number)
    assert made.use is not None
    use = dataclasses.replace(made.use, used=used, **changes)
    return dataclasses.replace(made, use=use, rates=Rates(rate, rate, 1.0, 1.0))


def test_instances_by_space_and_by_io() -> None:
    images = (
        grown(0, 5 * 2**20, 100.0),
        grown(1, 3 * 2**20, 300.0),
        # A second disk.
        grown(1, 3 * 2**20, 0.0, disk="1"),
        grown(2, 1 * 2**20, 200.0),
    )
    found = shown(sample(images=images))
    assert instance_rows(found) == [["web1", "web0", "web2"], ["web1", "web2", "web0"]]
    said = spoken(found)
    assert "web1.example 6.0 MiB <1 % <1 % 2.0 GiB 2 node1.example" in said
    assert (
        "web1.example 50 % 50 % 300 B/s 300 B/s 1/s 1/s".replace("1/s", "2/s") in said
    )


def test_images_of_nobody_of_others_and_those_not_looked_at() -> None:
    images = (
        grown(0, None, 0.0),
        grown(1, 2**20, 0.0, instance="", cluster=""),
        grown(2, 2**20, 0.0, cluster="other.example"),
        Image("rbd", "", "new"),
        Image("rbd", "", "broken", error="it is gone"),
        Image("rbd", "", "broken2", error="it is gone"),
    )
    found = shown(sample(images=images))
    assert "6 images, 1 of them not looked at yet." in found.said
    assert "Cannot be opened: rbd/broken (it is gone); so 1 other." in found.said
    assert "rbd/0a-1.rbd.disk0 (of no instance)" in found.said
    assert "web2.example (of other.example)" in found.said
    assert "web0.example - - 1.0 GiB 1 node1.example" in spoken(found)


def test_silent_images_are_said_to_be_so() -> None:
    assert (
        "No image is known to be read or written now"
        in shown(sample(images=(image(0),))).said
    )


def test_page_of_a_large_cluster_is_short_and_quick() -> None:
    names = Names(
        "cluster.example", (), tuple((f"node{one}", f"n{one}") for one in range(150))
    )
    osds = tuple(osd(one, host=f"node{one // 24}") for one in range(3600))
    images = tuple(grown(one, one, float(one)) for one in range(10_000))
    groups = dataclasses.replace(
        GROUPS,
        states=tuple((f"state{one}", 1) for one in range(200)),
        progress=(Progress("moving", 0.5),) * 200,
    )
    checks = tuple(check(f"C{one}", details=("d",) * 3600) for one in range(200))
    large = sample(
        names=names, osds=osds, images=images, groups=groups, health=warns(*checks)
    )
    began = time.process_time()
    found = shown(large)
    assert time.process_time() - began < 2
    assert len(found.text) < 250_000
    assert "and 3,588 more OSDs, none worse" in found.said
    assert "and 9,988 more" in found.said
    # With those that have a mon or mgr only.
    assert re.search(r"and 12\d more nodes, none worse", found.said)
    assert "and 160 more checks" in found.said


def test_page_is_served_with_its_policy() -> None:
    body = publish(sample(), 20.0, 4711).bodies["/status"]
    assert body.kind == "text/html; charset=utf-8"
    assert dict(body.headers)["Content-Security-Policy"] == look.POLICY
    assert 'data-interval="20"' in body.content.decode()
