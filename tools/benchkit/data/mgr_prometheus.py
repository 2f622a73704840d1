"""What it costs the mgr and the collector of this node to be scraped for a while.

Prints processor seconds by second, the size of a scrape, and some of its numbers.

Usage: mgr_prometheus.py SECONDS PERIOD URL|- NAME...
"""

import json
import sys
import time
import urllib.request

import psutil


def scrape(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def used(name):
    """Return the processor seconds of all processes of a name on this node."""
    return sum(
        sum(one.cpu_times()[:2])
        for one in psutil.process_iter()
        if one.name().startswith(name)
    )


def values(text, name):
    return sorted(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
    )


def main(seconds, period, url, *names):
    wait = time.monotonic() + 90
    while url != "-":
        try:
            if all(values(scrape(url), name) for name in names):
                break
        except OSError:
            pass
        if time.monotonic() > wait:
            sys.exit(f"{url} does not tell of {', '.join(names)}")
        time.sleep(1)
    # What is asked for the first time shall not count.
    time.sleep(period)
    before = used("ceph-mgr"), used("ganeti-ceph-col")
    end, text = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        text = scrape(url) if url != "-" else ""
        time.sleep(period)
    after = used("ceph-mgr"), used("ganeti-ceph-col")
    return {
        "mgr": (after[0] - before[0]) / seconds,
        "collector": (after[1] - before[1]) / seconds,
        "bytes": len(text),
        "values": [values(text, name) for name in names],
    }


if __name__ == "__main__":
    seconds, period, *rest = sys.argv[1:]
    print(json.dumps(main(float(seconds), float(period), *rest)))
