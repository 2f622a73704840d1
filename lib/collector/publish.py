"""A sample as all that is served of it, made once."""

import json

from ganeti_ceph.collector import metrics, report
from ganeti_ceph.collector.facts import Sample
from ganeti_ceph.collector.serve import Body, Published

_JSON = "application/json"


def publish(sample: Sample) -> Published:
    """Return what is served of a sample, by path."""
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
    return Published(sample.taken, bodies)
