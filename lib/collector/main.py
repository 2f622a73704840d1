"""The program ganeti-ceph-collector: a service, and one report at a time."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ganeti_ceph import __version__
from ganeti_ceph.collector import mond, report
from ganeti_ceph.collector.facts import Sample
from ganeti_ceph.collector.images import Images
from ganeti_ceph.collector.mond import Monitor
from ganeti_ceph.collector.publish import INTERVAL, PORT, publish
from ganeti_ceph.collector.sample import Sampler
from ganeti_ceph.collector.serve import Server
from ganeti_ceph.run import run

#: What a daemon is told that shall listen at all addresses.
_ALL = (None, "", "0.0.0.0", "::")  # noqa: S104

#: Seconds that the end waits for a sample that is being taken.
_PATIENCE = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(message)s",
    )
    if options.command == "report":
        return _report(options)
    return asyncio.run(_serve(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ganeti-ceph-collector",
        description="Tells what the storage cluster of a Ganeti node is doing.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("-d", "--debug", action="store_true", help="log more")
    parser.add_argument(
        "--keyring",
        default=_keyring(),
        help="the file with the key of client.ganeti-collector",
    )
    address, port = mond.arguments(os.environ.get("MOND_ARGS", ""))
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="sample and serve until it is stopped")
    serve.add_argument(
        "-b",
        "--bind",
        default=address,
        help="the address to listen at (ganeti-mond's in MOND_ARGS, or all)",
    )
    serve.add_argument(
        "-p", "--port", type=_port, default=PORT, help=f"the port ({PORT})"
    )
    serve.add_argument(
        "-i",
        "--interval",
        type=_seconds,
        default=INTERVAL,
        help=f"seconds from one sample to the next ({INTERVAL:.0f})",
    )
    serve.add_argument(
        "--mond-address",
        default=mond.ADDRESS if address in _ALL else address,
        help="the address of this node's ganeti-mond",
    )
    serve.add_argument(
        "--mond-port",
        type=_port,
        default=port or mond.default_port(),
        help="the port of this node's ganeti-mond",
    )
    single = commands.add_parser("report", help="sample once and print a report")
    single.add_argument(
        "name",
        nargs="?",
        choices=list(report.COLLECTORS),
        help="which report; all of them in a list if none is named",
    )
    return parser


def _keyring() -> str | None:
    """Return where systemd put the key for us, None where Ceph looks for it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return str(Path(folder) / "keyring") if folder else None


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    # A manager forgets what it counts of images when nobody asks for a minute.
    if not 1 <= number <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 60 seconds")
    return number


def _report(options: argparse.Namespace) -> int:
    # To open all images takes long where there are many.
    told = options.name in (None, "ceph-disks")
    sampler = Sampler(
        socket.gethostname(),
        run,
        Images(limit=None) if told else None,
        keyring=options.keyring,
        alone=True,
    )
    try:
        sample = sampler.take()
    finally:
        sampler.close()
    found = (
        report.report(sample, options.name)
        if options.name
        else report.all_reports(sample)
    )
    print(json.dumps(found, indent=2))
    return 0 if sample.answered else 1


async def _serve(options: argparse.Namespace) -> int:
    server = Server(Monitor(options.mond_address, options.mond_port))
    try:
        listening = await server.start(options.bind, options.port)
    except OSError as err:
        where = f"{options.bind or 'all addresses'}, port {options.port}"
        logging.error("cannot listen at %s: %s", where, err.strerror or err)
        return 1
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    sampler = Sampler(socket.gethostname(), run, Images(), keyring=options.keyring)

    def show(sample: Sample) -> None:
        published = publish(sample, options.interval, options.port)
        loop.call_soon_threadsafe(server.publish, published)

    sampling = Sampling(sampler, show, options.interval)
    sampling.start()
    await stopped.wait()
    # Not to wait until clients that keep their connections let go of them.
    listening.close()
    if not await asyncio.to_thread(sampling.stop, _PATIENCE):
        # Ceph keeps it waiting, and a thread cannot be ended from outside.
        logging.info("stopping without the storage cluster's answer")
        os._exit(0)
    return 0


class Sampling:
    """A thread that takes a sample at each interval."""

    def __init__(
        self, sampler: Sampler, show: Callable[[Sample], None], interval: float
    ) -> None:
        """Give each sample to ``show``; ``interval`` is in seconds."""
        self._sampler = sampler
        self._show = show
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._silence = ""

    def start(self) -> None:
        """Begin with the first sample."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End; tell whether it did so within some seconds."""
        self._stop.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                sample = self._sampler.take()
                self._log(sample)
                self._show(sample)
            except Exception:
                # A fault of ours in one sample: the next may be without it.
                logging.exception("a sample failed")
            passed = time.monotonic() - began
            self._stop.wait(max(0.5, self._interval - passed))
        self._sampler.close()

    def _log(self, sample: Sample) -> None:
        """Say in the log when the storage cluster falls silent, and when it is back."""
        gap = None if sample.answered else sample.gap("health")
        if gap and not self._silence:
            logging.warning("the storage cluster does not answer: %s", gap.reason)
        elif not gap and self._silence:
            logging.info("the storage cluster answers again")
        self._silence = gap.reason if gap else ""


if __name__ == "__main__":
    sys.exit(main())
