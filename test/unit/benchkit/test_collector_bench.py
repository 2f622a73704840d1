"""What the collector's benchmark says of its figures."""

from benchkit import collector


def test_samples_are_told_by_size_and_how_they_grow():
    one = {"read": 0.1, "questions": 13, "metrics": 2**20, "reports": 2**21}
    taken = {
        str(osds): {**one, "seconds": 0.5 + osds / 20_000} for osds in collector.OSDS
    }
    *_, last = collector.report_samples(taken).splitlines()
    assert last.startswith("   10000 OSDs, 10000 images: 1.000 s of a processor")
    assert "13 questions, 1.0 MiB of metrics, 2.0 MiB of reports" in last
    assert last.endswith("(aim: 1 s; an OSD more costs 1.00 of one before)")


def test_memory_is_told_with_what_it_grew_by():
    text = collector.report_memory([60.0, 60.5, 60.25])
    assert text.endswith("60.0, 60.5, 60.2 MiB (+0.2)")


def test_scrapes_are_told_by_size_and_connection():
    one = {"second": 500.4, "processor": 1000.0, "bytes": 2048}
    lines = collector.report_serving({"3 kept": one, "100 new": one}).splitlines()
    assert lines[1] == "  3 OSDs (2 KiB), one connection: 500, 1000"
    assert lines[2] == "  100 OSDs (2 KiB), a connection each: 500, 1000 (aim: 200)"


def test_both_ways_are_compared_with_none_and_by_their_numbers():
    same = [[1.0]] * len(collector.SAME)
    one = {"mgr": 0.03, "collector": 0.02, "bytes": 1024, "values": same}
    other = {**one, "mgr": 0.05, "collector": 0.0, "values": [[2.0], *same[1:]]}
    nothing = {**one, "mgr": 0.01, "values": []}
    text = collector.report_sides(
        {"collector": one, "module": other, "nothing": nothing}
    )
    assert "collector: 20.0 more in the mgr, 20.0 in the collector" in text
    assert "module   : 40.0 more in the mgr, 0.0 in the collector" in text
    assert text.endswith("numbers that differ: ganeti_ceph_health_status")
