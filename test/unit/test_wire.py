"""What crosses between nodes arrives as it was sent, or is refused with its place."""

import contextlib
import dataclasses
import enum
import json

import pytest
from fakes import make_cluster, make_device, make_label, make_node
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import wire
from ganeti_ceph.facts import ClusterFacts, Device, NodeFacts
from ganeti_ceph.rpc import Look, Misfits, Outcomes
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Keys
from ganeti_ceph.wire import WireError


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Inner:
    number: int
    flag: bool


@dataclasses.dataclass(frozen=True)
class Outer:
    text: str
    maybe: str | None
    ratio: float
    colour: Colour
    many: tuple[Inner, ...]
    pair: tuple[str, int]
    one: Inner | None

    def __post_init__(self):
        if self.text == "bad":
            raise ValueError("that text is bad")


GOOD = {
    "text": "t",
    "maybe": None,
    "ratio": 1.5,
    "colour": "red",
    "many": [{"number": 1, "flag": True}],
    "pair": ["a", 2],
    "one": None,
}


@given(
    st.builds(
        Outer,
        text=st.text().filter(lambda text: text != "bad"),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_what_is_sent_arrives(sent):
    assert wire.decode(Outer, json.loads(json.dumps(wire.encode(sent)))) == sent


@pytest.mark.parametrize(
    "kind", [NodeFacts, ClusterFacts, Device, Look, Misfits, Outcomes]
)
@given(data=st.data())
def test_all_that_travels_arrives(kind, data):
    mons = {"mons": st.just(make_cluster().mons)} if kind is ClusterFacts else {}
    text = json.dumps(wire.encode(data.draw(st.builds(kind, **mons))))
    # As texts: a clock may be no number, which equals nothing.
    assert json.dumps(wire.encode(wire.decode(kind, json.loads(text)))) == text


def test_facts_of_a_real_form_arrive():
    facts = make_node(disks=(make_device(label=make_label()),)).facts
    assert wire.decode(NodeFacts, json.loads(json.dumps(wire.encode(facts)))) == facts
    cluster = make_cluster()
    sent = json.loads(json.dumps(wire.encode(cluster)))
    assert wire.decode(ClusterFacts, sent) == cluster


def test_a_whole_number_arrives_as_a_float_where_one_is_declared():
    assert wire.decode(Outer, {**GOOD, "ratio": 2}).ratio == 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": 1}, "value.text is a int, not a str"),
        ({"text": None}, "value.text is a NoneType"),
        ({"maybe": 1}, "value.maybe"),
        ({"ratio": True}, "value.ratio"),
        ({"ratio": "1"}, "value.ratio"),
        ({"colour": "blue"}, "value.colour is 'blue', no Colour"),
        ({"colour": ["red"]}, "value.colour"),
        ({"many": "x"}, "value.many is no list"),
        ({"many": [{"number": True, "flag": True}]}, r"value.many\[0\].number"),
        ({"many": [{"number": 1, "flag": 1}]}, r"value.many\[0\].flag"),
        ({"many": [[1, True]]}, r"value.many\[0\] is no object"),
        ({"pair": ["a"]}, "value.pair has 1 items, not 2"),
        ({"pair": [1, 2]}, r"value.pair\[0\]"),
        ({"one": {"number": 1}}, "value.one and Inner differ in flag"),
        ({"text": "bad"}, "value: that text is bad"),
        ({"more": 1}, "differ in more"),
    ],
)
def test_what_was_not_declared_is_refused_with_its_place(changes, words):
    with pytest.raises(WireError, match=words):
        wire.decode(Outer, {**GOOD, **changes})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner)
        | st.dictionaries(st.sampled_from(list(GOOD)), inner),
    )
)
def test_whatever_arrives_is_an_object_or_a_wire_error(data):
    with contextlib.suppress(WireError):
        assert isinstance(wire.decode(Outer, data), Outer)


def test_secrets_travel_and_stay_secret_in_errors():
    keys = Keys(Secret("m0n-s3cret"), Secret("adm1n-s3cret"))
    sent = wire.encode(keys)
    assert sent == {"mon": "m0n-s3cret", "admin": "adm1n-s3cret"}
    assert wire.decode(Keys, sent) == keys
    for wrong in ({"mon": "m0n-s3cret"}, {"mon": ["m0n-s3cret"], "admin": "x"}):
        with pytest.raises(WireError) as caught:
            wire.decode(Keys, wrong)
        assert "s3cret" not in str(caught.value) + repr(caught.value)
