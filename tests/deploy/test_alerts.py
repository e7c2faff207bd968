"""Every alert fires for what it is about, on Prometheus's own engine, and for nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.deploy.monitoring import alerts, dashboards, rules, rules_in
from tests.deploy.rendering import ROOT, at, render
from tests.deploy.rendering import case as values_of

POD = 'namespace="ns", pod="shop-order-6c7-x"'
GROUP = 'messaging_destination_name="orders_stream", messaging_consumer_group_name="inventory-group"'
OF_GROUP = {
    "messaging_destination_name": "orders_stream",
    "messaging_consumer_group_name": "inventory-group",
    "namespace": "ns",
}
STREAM = 'messaging_destination_name="orders_stream"'
REPORTED = {f"process_uptime_seconds{{{POD}}}": "0+60x200", f"eventcore_stream_length{{{POD}, {STREAM}}}": "9x200"}


class Case(NamedTuple):
    """Series by what they are called, a value every `step` minutes, and the alerts that fire after so many minutes."""

    series: dict[str, str]
    minutes: int
    firing: Mapping[str, Mapping[str, str]] = {}
    step: int = 1


def gauge(name: str, values: str, labels: str = GROUP) -> dict[str, str]:
    return {f"eventcore_{name}{{{POD}, {labels}}}": values}


def requests(status: int, values: str) -> dict[str, str]:
    return {f'http_server_request_duration_seconds_count{{{POD}, http_response_status_code="{status}"}}': values}


def deliveries(outcome: str, values: str) -> dict[str, str]:
    return {
        f'messaging_process_duration_seconds_count{{{POD}, {GROUP}, eventcore_outcome="{outcome}"}}': values,
    }


def delays(fast: str, slow: str) -> dict[str, str]:
    name = f"eventcore_event_loop_delay_seconds_bucket{{{POD}, le="
    return {f'{name}"0.01"}}': fast, f'{name}"1"}}': slow, f'{name}"+Inf"}}': slow}


def receiver(values: str) -> dict[str, str]:
    return {f'shop_notification_receiver_down{{{POD}, shop_notification_channel="webhook"}}': values}


ALIVE, DEAD = (f'{GROUP}, eventcore_consumer_state="{state}"' for state in ("alive", "dead"))
LETTERS = f'{GROUP}, reason="rejected"'
ONLY_GROUP = {"messaging_consumer_group_name": "inventory-group", "namespace": "ns"}
NAMESPACE = {"namespace": "ns"}

CASES = {
    "LagRises": [
        Case(gauge("lag", "0+10x30") | gauge("lag_age_seconds", "90x30"), 12, {"LagRises": OF_GROUP}),
        Case(gauge("lag", "500-10x30") | gauge("lag_age_seconds", "90x30"), 12),
        Case(gauge("lag", "0+10x30") | gauge("lag_age_seconds", "2x30"), 12),
    ],
    "EventsWait": [
        Case(gauge("lag_age_seconds", "301x30"), 4),
        Case(gauge("lag_age_seconds", "301x30"), 6, {"EventsWait": OF_GROUP}),
    ],
    "DeliveriesStuck": [
        Case(gauge("pending_age_seconds", "901x30"), 6, {"DeliveriesStuck": OF_GROUP}),
        Case(gauge("pending_age_seconds", "899x30"), 20),
    ],
    "ConsumersPaused": [
        Case(
            gauge("paused", "1x30", 'messaging_consumer_group_name="inventory-group"'),
            6,
            {"ConsumersPaused": ONLY_GROUP},
        ),
        Case(gauge("paused", "0x30", 'messaging_consumer_group_name="inventory-group"'), 6),
    ],
    "ReceiverDown": [
        Case(receiver("1x30"), 6, {"ReceiverDown": {"shop_notification_channel": "webhook", "namespace": "ns"}}),
        Case(receiver("1x3 0x30"), 10),
    ],
    "NoConsumers": [
        Case(gauge("consumers", "0x30", ALIVE) | gauge("lag", "3x30"), 3, {"NoConsumers": OF_GROUP}),
        Case(gauge("consumers", "0x30", ALIVE) | gauge("lag", "0x30"), 3),
        Case(gauge("consumers", "1x30", ALIVE) | gauge("lag", "3x30"), 3),
    ],
    "DeadConsumersHold": [
        Case(gauge("consumers", "1x30", DEAD), 6, {"DeadConsumersHold": OF_GROUP}),
        Case(gauge("consumers", "1x2 0x30", DEAD), 10),
    ],
    "StreamsUnseen": [
        Case({f"eventcore_stream_length{{{POD}, {STREAM}}}": "9x5 stale"}, 9, {"StreamsUnseen": NAMESPACE}),
        Case({}, 9),
    ],
    "EventsDeadLettered": [
        Case(
            gauge("dead_letters_total", "0x5 1x30", LETTERS),
            7,
            {"EventsDeadLettered": {**OF_GROUP, "reason": "rejected"}},
        ),
        Case(gauge("dead_letters_total", "0x5 1x30", LETTERS), 20),
    ],
    "DeadLettersLie": [
        Case(
            gauge("dead_letter_length", "2x150", STREAM),
            1450,
            {"DeadLettersLie": {"messaging_destination_name": "orders_stream", "namespace": "ns"}},
            step=10,
        ),
        Case(gauge("dead_letter_length", "2x140 0x10", STREAM), 1450, step=10),
    ],
    "EventsLost": [Case(gauge("trimmed_unread_total", "0x5 1x30"), 7, {"EventsLost": OF_GROUP})],
    "DeliveriesFail": [
        Case(deliveries("handled", "0+80x30") | deliveries("failed", "0+20x30"), 11, {"DeliveriesFail": ONLY_GROUP}),
        Case(deliveries("handled", "0+95x30") | deliveries("failed", "0+5x30"), 11),
    ],
    "RequestsFail": [
        Case(requests(202, "0+90x30") | requests(503, "0+10x30"), 11, {"RequestsFail": NAMESPACE}),
        Case(requests(202, "0+90x30") | requests(422, "0+90x30") | requests(503, "0+1x30"), 11),
    ],
    "ConsumersDie": [
        Case(gauge("takeovers_total", "0+1x90"), 40, {"ConsumersDie": ONLY_GROUP}),
        Case(gauge("takeovers_total", "0x5 1x90"), 40),
    ],
    "EventLoopBlocked": [
        Case(delays("0+90x30", "0+100x30"), 11, {"EventLoopBlocked": {"namespace": "ns", "pod": "shop-order-6c7-x"}}),
        Case(delays("0+100x30", "0+100x30"), 11),
    ],
    "RedisAppendOnlyFileFails": [
        Case(gauge("redis_append_only_ok", "1x3 0x30", ""), 6, {"RedisAppendOnlyFileFails": NAMESPACE}),
        Case(gauge("redis_append_only_ok", "1x30", ""), 6),
    ],
    "RedisSnapshotFails": [
        Case(gauge("redis_snapshots_ok", "0x30", ""), 16, {"RedisSnapshotFails": NAMESPACE}),
        Case(gauge("redis_snapshots_ok", "0x8 1x30", ""), 16),
    ],
    "RedisMemoryNearlyFull": [
        Case(
            gauge("redis_memory_bytes", "95x30", "") | gauge("redis_memory_limit_bytes", "100x30", ""),
            6,
            {"RedisMemoryNearlyFull": NAMESPACE},
        ),
        Case(gauge("redis_memory_bytes", "89x30", "") | gauge("redis_memory_limit_bytes", "100x30", ""), 6),
        Case(gauge("redis_memory_bytes", "95x30", ""), 6),  # a server without a limit
    ],
    "RedisUnfit": [
        Case(gauge("redis_findings", "2x30", ""), 16, {"RedisUnfit": NAMESPACE}),
        Case(gauge("redis_findings", "0x30", ""), 16),
        Case(gauge("redis_findings", "2x8 0x30", ""), 16),
    ],
    "ClockOff": [
        Case(
            gauge("clock_skew_seconds", "-40x30", ""), 6, {"ClockOff": {"namespace": "ns", "pod": "shop-order-6c7-x"}}
        ),
        Case(gauge("clock_skew_seconds", "4x30", ""), 6),
    ],
}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian and Ubuntu: apt-get install prometheus)")
    return found


def run(promtool: str, *arguments: str, folder: Path) -> None:
    done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr


def severity(name: str) -> str:
    return next(str(each["labels"]["severity"]) for each in alerts() if each["alert"] == name)


def as_test(case: Case) -> dict[str, Any]:
    """For promtool: what fires at that time, everything else included."""
    firing = []
    for name, labels in case.firing.items():
        every = {"alertname": name, "alertstate": "firing", "severity": severity(name), **labels}
        inside = ", ".join(f'{label}="{value}"' for label, value in every.items())
        firing.append({"labels": f"ALERTS{{{inside}}}", "value": 1})
    series = REPORTED | case.series
    return {
        "interval": f"{case.step}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{case.minutes}m", "exp_samples": firing}
        ],
    }


def write(folder: Path, name: str, content: Any) -> str:
    (folder / name).write_text(yaml.safe_dump(content))
    return name


def check(promtool: str, folder: Path, tests: Sequence[dict[str, Any]], groups: Any = None) -> None:
    """Raises where promtool finds something else than what is expected."""
    write(folder, "rules.yaml", groups or rules())
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": tests[0]["interval"], "tests": list(tests)}
    run(promtool, "test", "rules", write(folder, "tests.yaml", file), folder=folder)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_for_what_it_is_about_and_nothing_else_does(promtool: str, alert: str, tmp_path: Path) -> None:
    check(promtool, tmp_path, [as_test(case) for case in CASES[alert]])


def with_alerts(changed: dict[str, Any]) -> dict[str, Any]:
    """The rules, for somebody who wants other limits."""
    return rules_in(render(at(values_of("monitoring"), ("monitoring", "prometheusRule", "alerts"), changed)))


# What each alert with a limit is about, just below and just above another one that somebody may want.
LIMITS: dict[str, tuple[dict[str, float], dict[str, str], dict[str, str]]] = {
    "lagRises": (
        {"seconds": 7.5},
        gauge("lag", "0+10x30") | gauge("lag_age_seconds", "7x30"),
        gauge("lag", "0+10x30") | gauge("lag_age_seconds", "8x30"),
    ),
    "eventsWait": ({"seconds": 1e6}, gauge("lag_age_seconds", "999999x30"), gauge("lag_age_seconds", "1000001x30")),
    "deliveriesStuck": ({"seconds": 30}, gauge("pending_age_seconds", "30x30"), gauge("pending_age_seconds", "31x30")),
    "deliveriesFail": (
        {"percent": 0.5},
        deliveries("handled", "0+996x30") | deliveries("failed", "0+4x30"),
        deliveries("handled", "0+994x30") | deliveries("failed", "0+6x30"),
    ),
    "requestsFail": (
        {"percent": 50},
        requests(202, "0+51x30") | requests(503, "0+49x30"),
        requests(202, "0+49x30") | requests(503, "0+51x30"),
    ),
    "eventLoopBlocked": ({"seconds": 0.02}, delays("0+100x30", "0+100x30"), delays("0+90x30", "0+100x30")),
    "clockOff": ({"seconds": 1}, gauge("clock_skew_seconds", "0.9x30", ""), gauge("clock_skew_seconds", "1.1x30", "")),
    "redisMemoryNearlyFull": (
        {"percent": 75},
        gauge("redis_memory_bytes", "74x30", "") | gauge("redis_memory_limit_bytes", "100x30", ""),
        gauge("redis_memory_bytes", "76x30", "") | gauge("redis_memory_limit_bytes", "100x30", ""),
    ),
}


@pytest.mark.parametrize("alert", LIMITS)
def test_somebody_may_want_another_limit(promtool: str, alert: str, tmp_path: Path) -> None:
    limit, below, above = LIMITS[alert]
    name = alert[0].upper() + alert[1:]
    labels = next(dict(each.firing[name]) for each in CASES[name] if name in each.firing)
    groups = with_alerts({alert: {**limit, "for": "3m"}})
    only_it = {
        "groups": [
            {**each, "rules": [rule for rule in each["rules"] if rule["alert"] == name]} for each in groups["groups"]
        ]
    }
    tests = [as_test(Case(below, 20)), as_test(Case(above, 20, {name: labels}))]
    check(promtool, tmp_path, tests, only_it)


def test_somebody_may_want_to_wait_for_another_time() -> None:
    waiting = [each["alert"] for each in alerts() if "for" in each]
    others = {name[0].lower() + name[1:]: {"for": f"{minutes}m"} for minutes, name in enumerate(waiting, start=60)}
    changed = [each for group in with_alerts(others)["groups"] for each in group["rules"] if "for" in each]
    assert {each["alert"]: each["for"] for each in changed} == {
        name: f"{minutes}m" for minutes, name in enumerate(waiting, start=60)
    }


def test_every_alert_has_such_a_case() -> None:
    assert list(CASES) == [each["alert"] for each in alerts()]
    for alert, cases in CASES.items():
        assert [alert] in [list(case.firing) for case in cases]


@pytest.mark.parametrize(
    ("ours", "theirs"), [('"shop-order-', '"shop-two-order-'), ('namespace="ns"', 'namespace="elsewhere"')]
)
def test_other_shops_are_none_of_its_business(promtool: str, ours: str, theirs: str, tmp_path: Path) -> None:
    tests = []
    for case in (each for cases in CASES.values() for each in cases if each.firing and each.step == 1):
        series = {name.replace(ours, theirs): values for name, values in (REPORTED | case.series).items()}
        quiet = [{"series": name, "values": values} for name, values in series.items()]
        tests.append(as_test(Case({}, case.minutes)) | {"input_series": quiet})
    check(promtool, tmp_path, tests)


def test_dashboards_ask_in_promql(promtool: str, tmp_path: Path) -> None:
    panels = [panel for each in dashboards().values() for panel in each["panels"]]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(asked) > 30
    plain = [re.sub(r"\$__(rate_interval|range)", "5m", each) for each in asked]
    recorded = [{"record": "r", "expr": expr, "labels": {"n": str(number)}} for number, expr in enumerate(plain)]
    run(
        promtool,
        "check",
        "rules",
        write(tmp_path, "rules.yaml", {"groups": [{"name": "g", "rules": recorded}]}),
        folder=tmp_path,
    )


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    assert [group["name"] for group in rules()["groups"]] == ["shop.waiting", "shop.events", "shop.redis"]
    for each in alerts():
        assert each["labels"]["severity"] in ("warning", "critical")
        assert len(each["annotations"]["summary"]) > 20
        assert len(each["annotations"]["description"]) > 20
    at_once = {"EventsDeadLettered", "EventsLost"}
    assert {each["alert"] for each in alerts() if "for" not in each} == at_once


def test_the_document_lists_every_alert_and_how_long_it_waits() -> None:
    text = (ROOT / "docs/observability.md").read_text()
    listed = re.findall(r"^\| (\w+) \| .* \| (at once|\d+ \w+) \|$", text, re.MULTILINE)
    words = {"m": "min", "d": "day"}
    waits = [each.get("for", "") for each in alerts()]
    said = [f"{wait[:-1]} {words[wait[-1]]}" if wait else "at once" for wait in waits]
    assert listed == list(zip((each["alert"] for each in alerts()), said, strict=True))
