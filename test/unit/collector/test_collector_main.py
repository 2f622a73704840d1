"""The program: its options, its loop, and one report at a time."""

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
import urllib.request

import pytest
from collector.samples import sample, silent

from ganeti_ceph.collector import main as program
from ganeti_ceph.collector import mond
from ganeti_ceph.collector.main import Sampling, main


class Given:
    """A sampler that takes what a test gives it, the last again and again."""

    def __init__(self, *samples):
        self.samples = list(samples)
        self.closed = False

    def take(self):
        one = self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]
        if isinstance(one, Exception):
            raise one
        return one

    def close(self):
        self.closed = True


@pytest.fixture
def given(monkeypatch):
    """Let the program sample what a test gives it; return what it was made with."""
    made = []

    def give(*samples):
        def make(hostname, run, images, **options):
            made.append({"images": images, **options})
            return Given(*samples)

        monkeypatch.setattr(program, "Sampler", make)
        return made

    return give


def shown(sampler, count, interval=0.0):
    """Return the first samples that a thread shows."""
    found, enough = [], threading.Event()

    def show(one):
        found.append(one)
        if len(found) == count:
            enough.set()

    sampling = Sampling(sampler, show, interval)
    sampling.start()
    assert enough.wait(20)
    assert sampling.stop(20)
    return found[:count]


def test_one_report_or_all_are_printed(given, capsys):
    made = given(sample())
    assert main(["report", "ceph-node"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "ceph-node"
    assert made[-1]["images"] is None, "to open all images takes long"
    assert main(["--keyring", "/a/key", "report"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    assert names == ["ceph-cluster", "ceph-node", "ceph-disks"]
    assert all(one["alone"] for one in made)
    assert made[-1]["keyring"] == "/a/key"
    main(["report", "ceph-disks"])
    assert all(one["images"] for one in made[1:])


def test_a_storage_cluster_that_does_not_answer_is_a_failure(given, capsys):
    given(silent())
    assert main(["report", "ceph-cluster"]) == 1
    assert json.loads(capsys.readouterr().out)["data"]["status"]["code"] == 2


@pytest.mark.parametrize(
    "words",
    [
        *([], ["report", "other"], ["serve", "-p", "70000"], ["serve", "-p", "x"]),
        *(["serve", "-i", "0"], ["serve", "-i", "61"], ["serve", "-i", "nan"]),
    ],
)
def test_wrong_options_are_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: ganeti-ceph-collector" in capsys.readouterr().err


def test_systemd_says_where_the_key_is(given, capsys, monkeypatch):
    made = given(sample())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    main(["report"])
    assert made[0]["keyring"] == "/run/credentials/x/keyring"


def test_a_port_that_is_taken_is_told(given, caplog):
    given(sample())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "-b", "127.0.0.1", "-p", str(port)]) == 1
    assert f"cannot listen at 127.0.0.1, port {port}" in caplog.text


def test_it_serves_until_it_is_told_to_end(given):
    given(sample())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    got = []

    def ask():
        end = time.monotonic() + 20
        while not got and time.monotonic() < end:
            with contextlib.suppress(OSError):
                address = f"http://127.0.0.1:{port}/metrics"
                got.append(urllib.request.urlopen(address, timeout=5).status)
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert main(["serve", "-b", "127.0.0.1", "-p", str(port), "-i", "60"]) == 0
    asking.join()
    assert got == [200]


def test_mond_is_asked_where_the_options_say(given, monkeypatch):
    given(sample())
    made = []
    monkeypatch.setattr(program, "Monitor", lambda *where: made.append(where))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["-b", "127.0.0.1", "-p", str(taken.getsockname()[1])]
        main(["serve", *words, "--mond-port", "7"])
        main(["serve", *words, "--mond-address", "192.0.2.1"])
    assert made == [("127.0.0.1", 7), ("192.0.2.1", mond.default_port())]


@pytest.mark.parametrize(
    ("arguments", "bind", "asked"),
    [
        ("", None, ("127.0.0.1", mond.default_port())),
        ("-b 192.0.2.7 -p 99", "192.0.2.7", ("192.0.2.7", 99)),
        (
            "-f -b 0.0.0.0 --no-user-checks",
            "0.0.0.0",
            ("127.0.0.1", mond.default_port()),
        ),
        ("-b '", None, ("127.0.0.1", mond.default_port())),
        ("-p many", None, ("127.0.0.1", mond.default_port())),
    ],
)
def test_it_listens_where_mond_does(given, monkeypatch, arguments, bind, asked):
    given(sample())
    made, bound = [], []

    class Server:
        def __init__(self, monitor):
            pass

        async def start(self, address, port):
            bound.append(address)
            raise OSError("that is enough")

    monkeypatch.setenv("MOND_ARGS", arguments)
    monkeypatch.setattr(program, "Monitor", lambda *where: made.append(where))
    monkeypatch.setattr(program, "Server", Server)
    assert main(["serve"]) == 1
    assert (bound, made) == ([bind], [asked])
    main(["serve", "-b", "198.51.100.1"])
    assert bound[-1] == "198.51.100.1"


def test_a_sample_that_fails_is_not_the_last(caplog):
    given = Given(sample(), ZeroDivisionError("a fault"), sample())
    assert len(shown(given, 2)) == 2
    assert "a sample failed" in caplog.text and "a fault" in caplog.text
    assert given.closed


def test_silence_and_its_end_are_logged_once(caplog):
    caplog.set_level(logging.INFO)
    gone = silent("no mon answers")
    shown(Given(sample(), gone, gone, gone, sample(), sample()), 6)
    assert [record.getMessage() for record in caplog.records] == [
        "the storage cluster does not answer: no mon answers",
        "the storage cluster answers again",
    ]
