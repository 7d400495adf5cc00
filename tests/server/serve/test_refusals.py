"""What the proxy refused is counted by reason, of the last day, over all of its logs."""

from datetime import UTC, datetime, timedelta

from server.serve.refusals import refusals

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def line(status, *, hours_ago=0):
    moment = (NOW - timedelta(hours=hours_ago)).isoformat(timespec="seconds")
    return f'{moment} 10.0.0.7 refused {status} "POST /v1/x HTTP/1.1" 123 bytes: why\n'


def test_refusals_are_counted_by_reason(tmp_path):
    log = tmp_path / "proxy.log"
    log.write_text(
        line(403) * 3 + line(401) + line(403, hours_ago=25) + line(502) + "2026/05/04 [warn] other\n"
    )
    (tmp_path / "proxy.log.1").write_text(line(403, hours_ago=23) + "refused 403 without a time\n")
    found = refusals(log, now_s=NOW.timestamp())
    assert found == {"no call of the Fleet API": 4, "its signature is not that of an invited key": 1}


def test_without_a_log_nobody_was_refused(tmp_path):
    assert refusals(tmp_path / "proxy.log") == {}
