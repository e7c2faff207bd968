"""What the chart's Grafana dashboards show; `scripts/render-manifests` writes them.

Every query is about the pods of `$release` in `$namespace`, or about one `$service` of it, and says so in braces.
"""

from __future__ import annotations

from pathlib import Path

from scripts.chart_reference import CHART
from scripts.compact_json import compact_json
from scripts.grafana import Dashboard, Panel, Query, document

PODS = 'namespace="$namespace", pod=~"$release-(order|inventory|notification)-.*"'
SERVICE = 'namespace="$namespace", pod=~"$release-$service-.*"'

STREAM, GROUP = "messaging_destination_name", "messaging_consumer_group_name"
REQUESTS = "http_server_request_duration_seconds"
DELIVERIES = "messaging_process_duration_seconds"
PUBLISHING = "messaging_client_operation_duration_seconds"
COMMITS = "eventcore_commit_duration_seconds"
DELAY = "eventcore_event_loop_delay_seconds"


def named(*labels: str) -> str:
    """A line's name, of the values of these labels."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def stat(title: str, unit: str, expr: str, about: str = "", *, red: float | None = None) -> Panel:
    """One number."""
    return Panel(title, unit, [Query(expr)], about, "stat", 4, red)


def rate(title: str, metric: str, *by: str, where: str = PODS, about: str = "", width: int = 12) -> Panel:
    """How often something happens."""
    expr = f"sum by ({', '.join(by)}) (rate({metric}{{{where}}}[$__rate_interval]))"
    return Panel(title, "ops", [Query(expr, named(*by))], about, width=width)


def state(title: str, unit: str, metric: str, *by: str, about: str = "") -> Panel:
    """What one process of all shows; in the moment of a change, perhaps two."""
    return Panel(title, unit, [Query(f"max by ({', '.join(by)}) ({metric}{{{PODS}}})", named(*by))], about)


def durations(title: str, metric: str, *by: str, where: str = PODS, about: str = "", width: int = 12) -> Panel:
    """The usual and the worst times."""
    rates = f"sum by ({', '.join(('le', *by))}) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    quantiles = {"p50": f"histogram_quantile(0.5, {rates})", "p99": f"histogram_quantile(0.99, {rates})"}
    queries = [Query(expr, f"{named(*by)} {name}".strip()) for name, expr in quantiles.items()]
    return Panel(title, "s", queries, about, width=width)


def share(metric: str, which: str, where: str) -> str:
    """The part of what happens that is bad, over five minutes; 0 where nothing happens."""
    return f"sum(rate({metric}{{{where}, {which}}}[5m])) / sum(rate({metric}{{{where}}}[5m])) or vector(0)"


WELL = [
    stat("Oldest undelivered", "s", f"max(eventcore_lag_age_seconds{{{PODS}}})", "Of all groups.", red=60),
    stat("Oldest unfinished", "s", f"max(eventcore_pending_age_seconds{{{PODS}}})", "Handed out, not done.", red=300),
    stat(
        "Dead letters",
        "short",
        f"sum(max by ({STREAM}) (eventcore_dead_letter_length{{{PODS}}}))",
        "`eventcore dlq list STREAM` says why.",
        red=1,
    ),
    stat(
        "Dead consumers",
        "short",
        f'sum(max by ({STREAM}, {GROUP}) (eventcore_consumers{{{PODS}, eventcore_consumer_state="dead"}}))',
        "Still holding entries.",
        red=1,
    ),
    stat(
        "Lost to trimming",
        "short",
        f"sum(increase(eventcore_trimmed_unread_total{{{PODS}}}[$__range]))",
        "Must be 0.",
        red=1,
    ),
    stat(
        "Requests failing",
        "percentunit",
        share(f"{REQUESTS}_count", 'http_response_status_code=~"5.."', PODS),
        "Answered 5xx, over 5 minutes.",
        red=0.05,
    ),
]
BUSINESS = [
    rate("Orders, by outcome", "shop_orders_total", "shop_order_outcome", width=8),
    rate("Reservations refused", "shop_reservation_failures_total", "shop_reservation_reason", width=8),
    rate(
        "Notifications",
        "shop_notifications_total",
        "shop_notification_channel",
        "shop_notification_status",
        width=8,
    ),
]
WAITING = [
    state("Lag", "short", "eventcore_lag", GROUP, STREAM, about="Entries that the group has not been given yet."),
    state("Age of the first undelivered", "s", "eventcore_lag_age_seconds", GROUP, STREAM),
    state("Pending", "short", "eventcore_pending", GROUP, STREAM, about="Handed out and not finished."),
    state("Age of the oldest unfinished", "s", "eventcore_pending_age_seconds", GROUP, STREAM),
    state("Consumers", "short", "eventcore_consumers", GROUP, "eventcore_consumer_state"),
    Panel(
        "Waiting for another attempt",
        "short",
        [
            Query(f"sum by ({GROUP}) (eventcore_waiting{{{PODS}}})", named(GROUP)),
            Query(f"sum by ({GROUP}) (eventcore_paused{{{PODS}}})", f"{named(GROUP)} replicas paused"),
        ],
        "A paused replica reads nothing: too many deliveries wait, or commits are refused.",
    ),
]
HAPPENING = [
    rate("Deliveries, by outcome", f"{DELIVERIES}_count", GROUP, "eventcore_outcome"),
    durations("Time of deliveries", DELIVERIES, GROUP),
    Panel(
        "Retries, takeovers, hand-backs, duplicates",
        "ops",
        [
            Query(
                f"sum by ({GROUP}) (rate(eventcore_{each}_total{{{PODS}}}[$__rate_interval]))", f"{named(GROUP)} {each}"
            )
            for each in ("retries", "takeovers", "handed_back", "duplicates")
        ],
        "Duplicates are what the fence refused: nothing was written.",
    ),
    rate("Dead letters, by reason", "eventcore_dead_letters_total", GROUP, "reason"),
]
OVERVIEW = Dashboard(
    "overview",
    "Shop: overview",
    "Is it well, and if not, where does it wait? `eventcore status` says more; `eventcore trace ID` follows an order.",
    [
        ("Is it well?", WELL),
        ("Business", BUSINESS),
        ("Where does it wait?", WAITING),
        ("What happens to deliveries?", HAPPENING),
        (
            "HTTP",
            [
                rate("Requests, by status", f"{REQUESTS}_count", "http_response_status_code"),
                durations("Time of requests", REQUESTS, "http_route"),
            ],
        ),
    ],
)

REPLICAS = [
    stat("Replicas", "short", f"count(process_uptime_seconds{{{SERVICE}}})"),
    stat("Youngest replica", "s", f"min(process_uptime_seconds{{{SERVICE}}})", "Restarts show as falls to 0."),
    stat(
        "Slow turns of a loop",
        "s",
        f"histogram_quantile(0.99, sum by (le) (rate({DELAY}_bucket{{{SERVICE}}}[$__rate_interval])))",
        "p99 of all replicas.",
        red=0.5,
    ),
    stat("Waiting for another attempt", "short", f"sum(eventcore_waiting{{{SERVICE}}})", red=100),
    stat("Replicas paused", "short", f"sum(eventcore_paused{{{SERVICE}}})", red=1),
    stat(
        "Attempts failing",
        "percentunit",
        share(f"{DELIVERIES}_count", 'eventcore_outcome="failed"', SERVICE),
        "Over 5 minutes.",
        red=0.1,
    ),
]
OF_SERVICE = Dashboard(
    "service",
    "Shop: one service",
    "Everything that the replicas of one service say of themselves.",
    [
        ("Replicas", REPLICAS),
        (
            "HTTP",
            [
                rate(
                    "Requests, by route and status",
                    f"{REQUESTS}_count",
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    where=SERVICE,
                ),
                durations("Time of requests", REQUESTS, "http_route", where=SERVICE),
            ],
        ),
        (
            "Events",
            [
                rate(
                    "Deliveries, by type and outcome",
                    f"{DELIVERIES}_count",
                    "eventcore_event_type",
                    "eventcore_outcome",
                    where=SERVICE,
                ),
                durations("Time of deliveries, by type", DELIVERIES, "eventcore_event_type", where=SERVICE),
                rate("Deliveries, by replica", f"{DELIVERIES}_count", "pod", where=SERVICE),
                rate("Published, by stream", f"{PUBLISHING}_count", STREAM, where=SERVICE),
                rate("Commits, by outcome", f"{COMMITS}_count", "eventcore_outcome", where=SERVICE),
                durations("Time of commits", COMMITS, where=SERVICE),
            ],
        ),
        (
            "Event loop",
            [
                durations(
                    "Delay, by replica",
                    DELAY,
                    "pod",
                    where=SERVICE,
                    about="A handler that blocks makes everything wait; the log names it.",
                    width=24,
                )
            ],
        ),
    ],
    of_one_service=True,
)


def server(figure: str) -> str:
    """A figure of the server's, which one process of all shows."""
    return f"max(eventcore_redis_{figure}{{{PODS}}})"


SERVER = [
    stat(
        "Memory used",
        "percentunit",
        f"{server('memory_bytes')} / {server('memory_limit_bytes')}",
        "Of its limit; nothing where it has none.",
        red=0.9,
    ),
    stat("Append-only file failing", "short", f"1 - {server('append_only_ok')}", "Nothing where it is off.", red=1),
    stat("Snapshot failing", "short", f"1 - {server('snapshots_ok')}", red=1),
    stat("Connections", "short", server("clients")),
    stat("Commands", "ops", server("commands_per_second")),
    stat("Longest stream", "short", f"max(eventcore_stream_length{{{PODS}}})", "It refuses events at STREAM_CAP."),
    Panel("Memory", "bytes", [Query(server("memory_bytes"), "used"), Query(server("memory_limit_bytes"), "limit")]),
    Panel("Commands a second", "ops", [Query(server("commands_per_second"), "commands")]),
]
REDIS = Dashboard(
    "redis",
    "Shop: Redis",
    "Redis as the services see it: what INFO tells them every few seconds. CPU and slow commands need an exporter.",
    [
        ("Server", SERVER),
        (
            "Streams",
            [
                state("Length of streams", "short", "eventcore_stream_length", STREAM),
                state("Dead letters", "short", "eventcore_dead_letter_length", STREAM),
                state("Memory of streams", "bytes", "eventcore_stream_memory_bytes", STREAM),
            ],
        ),
        (
            "What clients see",
            [durations("Time of commits", COMMITS), durations("Time of publishing", PUBLISHING, STREAM)],
        ),
    ],
)


def generated() -> dict[Path, str]:
    """What the files ought to hold."""
    return {
        CHART / "dashboards" / f"{each.name}.json": compact_json(document(each))
        for each in (OVERVIEW, OF_SERVICE, REDIS)
    }
