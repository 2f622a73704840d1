"""A sample as all that is served of it, made once."""

import json

from ganeti_ceph.collector import metrics, page, report
from ganeti_ceph.collector.facts import Sample
from ganeti_ceph.collector.serve import Body, Published
from ganeti_ceph.collector.web import look

#: Next to mond's, and free in Ganeti's row.
PORT = 1816
#: Seconds from the beginning of one sample to that of the next.
INTERVAL = 15.0

_JSON = "application/json"
#: For the page: its own style and script, and nothing else.
_STRICT = (
    ("Content-Security-Policy", look.POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


def publish(sample: Sample, interval: float = INTERVAL, port: int = PORT) -> Published:
    """Return what is served of a sample, by path.

    The next one comes after ``interval`` seconds; collectors listen at ``port``.
    """
    reports = {
        name: json.dumps(report.report(sample, name)) for name in report.COLLECTORS
    }
    listed = [[name, report.CATEGORY, report.KIND_STATUS] for name in reports]
    texts = {
        "/1/list/collectors": json.dumps(listed),
        "/1/report/all": f"[{','.join(reports.values())}]",
        **{
            f"/1/report/{report.CATEGORY}/{name}": text
            for name, text in reports.items()
        },
    }
    bodies = {path: Body(_JSON, text.encode()) for path, text in texts.items()}
    bodies["/metrics"] = Body(metrics.CONTENT_TYPE, metrics.text(sample))
    shown = page.render(sample, interval, port).encode(errors="replace")
    bodies["/status"] = Body(page.CONTENT_TYPE, shown, _STRICT)
    return Published(sample.taken, bodies)
