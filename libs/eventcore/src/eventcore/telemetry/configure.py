"""The one place that knows OpenTelemetry's SDK: providers, readers and exporters, as the standard variables say."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from random import getrandbits
from typing import Any
from urllib.parse import SplitResult, urlsplit

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

import eventcore.telemetry as api
from eventcore.errors import SettingsError
from eventcore.settings import Settings

from . import messaging, quick
from .instruments import CATALOGUE, Counts, Durations, Gauges, Instrument, Reading
from .measurements import uptime
from .quick import QuickSpan

log = logging.getLogger(__name__)

# Spans that are written at once: more would save nothing, and leave batches less full.
_MOST_TOGETHER = 64
SCRAPE_TYPE = CONTENT_TYPE_LATEST

# Imported only where it is used: gRPC alone costs ten megabytes.
_EXPORTERS = {
    ("traces", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.trace_exporter:OTLPSpanExporter",
    ("traces", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.trace_exporter:OTLPSpanExporter",
    ("traces", "console"): "opentelemetry.sdk.trace.export:ConsoleSpanExporter",
    ("metrics", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.metric_exporter:OTLPMetricExporter",
    ("metrics", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.metric_exporter:OTLPMetricExporter",
    ("metrics", "console"): "opentelemetry.sdk.metrics.export:ConsoleMetricExporter",
    ("logs", "grpc"): "opentelemetry.exporter.otlp.proto.grpc._log_exporter:OTLPLogExporter",
    ("logs", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http._log_exporter:OTLPLogExporter",
}


def configure(name: str, settings: Settings) -> Callable[[float], None]:
    """Start telemetry as the standard `OTEL_*` variables say; the function that ends it within so many seconds.

    Metrics can always be scraped. Traces and metrics are exported only where an OTLP endpoint (or another exporter) is
    configured; without one nothing is sent and nothing is logged. Logs go to standard error anyway: they are exported
    only where that is asked for, by `OTEL_LOGS_EXPORTER=otlp` or an endpoint of their own. To be called once in a
    process, after `configure_logging`. Raises `SettingsError` for an exporter, a protocol or an address that is none.
    """
    if _disabled():
        return lambda seconds: None
    stops = [start_metrics(name, settings, readers=[_Exported(each) for each in _chosen("metrics")])]
    if exporters := _chosen("traces"):
        messaging.server.update(_server(settings))
        stops.append(_start_traces(_resource(name, settings), exporters))
    if exporters := _chosen("logs"):
        stops.append(_start_logs(_resource(name, settings), exporters))
    return lambda seconds: _stop_all(stops, seconds)


def start_metrics(name: str, settings: Settings, *, readers: Sequence[MetricReader] = ()) -> Callable[[], object]:
    """Make metrics ready for `scrape`; the function that stops them.

    OpenTelemetry lets its provider be set only once in a process: later calls change nothing.
    """
    if _PROVIDERS or _disabled():
        return lambda: None
    scraped = _Scraped(registry=_registry(), scope_info_enabled=False)
    provider = MeterProvider([scraped, *readers], _resource(name, settings), shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    # By the SDK's own instrument: what it does not collect anything for, it does not tell its readers about.
    provider.get_meter("eventcore").create_observable_gauge(uptime.name, [_uptime], uptime.unit, uptime.description)
    _PROVIDERS.append(provider)
    return provider.shutdown


def scrape() -> bytes:
    """All metrics of this process in the Prometheus text format, of type `scrape_type`."""
    return generate_latest(_registry())


_PROVIDERS: list[MeterProvider] = []
_BEGAN = time.time_ns()


@cache
def _registry() -> CollectorRegistry:
    """A registry of our own, so that nothing else gets into it."""
    return CollectorRegistry()


class _Scraped(PrometheusMetricReader):
    """What Prometheus asks for, our own instruments included."""

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(_with_ours(metrics_data), timeout_millis, **kwargs)


class _Exported(PeriodicExportingMetricReader):
    """What is sent every minute (`OTEL_METRIC_EXPORT_INTERVAL`), our own instruments included."""

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(_with_ours(metrics_data), timeout_millis, **kwargs)


def _with_ours(collected: MetricsData) -> MetricsData:
    """What the SDK collected, and all of `catalogue` as if it had (cumulative, whatever temporality is preferred)."""
    ours = [metric for each in CATALOGUE if (metric := _metric(each, time.time_ns())) is not None]
    # Exporters take it that no scope comes twice.
    scope = ScopeMetrics(InstrumentationScope("eventcore.instruments"), ours, "")
    [*others, last] = collected.resource_metrics
    return MetricsData([*others, replace(last, scope_metrics=[*last.scope_metrics, scope])])


def _metric(of: Instrument, now: int) -> Metric | None:
    """What an instrument has recorded; `None` where that is nothing."""
    match of:
        case Counts(cells=cells) if cells:
            data: Sum | Gauge | Histogram = Sum(_numbers(of, cells, now), AggregationTemporality.CUMULATIVE, True)
        case Gauges() if reading := of.read():
            data = Gauge(_numbers(of, reading, now))
        case Durations(cells=cells) if cells:
            data = Histogram(_points(of, now), AggregationTemporality.CUMULATIVE)
        case _:
            return None
    return Metric(of.name, of.description, of.unit, data)


def _numbers(of: Instrument, cells: Reading, now: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(of.attributes_of(key), _BEGAN, now, value) for key, value in list(cells.items())]


def _points(durations: Durations, now: int) -> list[HistogramDataPoint]:
    points = []
    for key, cell in list(durations.cells.items()):
        counts, total, least, most = list(cell.counts), cell.total, cell.lowest, cell.highest
        attributes = durations.attributes_of(key)
        points.append(
            HistogramDataPoint(attributes, _BEGAN, now, sum(counts), total, counts, durations.bounds, least, most)
        )
    return points


def _uptime(options: metrics.CallbackOptions) -> list[metrics.Observation]:
    return [metrics.Observation((time.time_ns() - _BEGAN) / 1e9)]


def _resource(name: str, settings: Settings) -> Resource:
    """What this process is called; the standard variables win."""
    ours = Resource.create({"service.name": name, "service.instance.id": settings.pod_name})
    return ours.merge(OTELResourceDetector().detect())


def _server(settings: Settings) -> dict[str, str | int]:
    """Where Redis is; who Sentinel's master is changes."""
    if settings.redis_sentinels:
        return {}
    host, _, port = settings.redis_address.rpartition(":")
    return {"server.address": host, "server.port": int(port)}


def _start_traces(resource: Resource, exporters: Sequence[Any]) -> Callable[[], object]:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased

    from .batching import Batching
    from .otlp import encoded_spans, encoder

    class ChosenIds(RandomIdGenerator):
        """Random ids, save where a request came with a trace id of its own."""

        def generate_trace_id(self) -> int:
            return api.chosen_trace_id.get() or getrandbits(128) or 1

    try:
        limits = SpanLimits()  # of the standard variables
    except ValueError as error:
        raise SettingsError(str(error)) from None
    ids = ChosenIds()
    provider = TracerProvider(resource=resource, id_generator=ids, span_limits=limits, shutdown_on_exit=False)
    processors = [Batching(exporter) for exporter in exporters]
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    # As the variables make it, a sampler that asks the parent wants nothing of a trace that its caller doesn't record.
    api.UNSAMPLED_TOO = not isinstance(provider.sampler, ParentBased)
    api.TRACING = provider.sampler is not ALWAYS_OFF
    nobody = Context()
    sample = Decision.RECORD_AND_SAMPLE
    api.BEGINS = lambda trace_id: provider.sampler.should_sample(nobody, trace_id, "").decision is sample
    takers = [_takes_quick_spans(exporter, encoder, resource) for exporter in exporters]
    if not api.UNSAMPLED_TOO and all(takers) and _are_usual(limits):
        quick.sink = _to_all(processors, encoded_spans)
    return provider.shutdown


def _are_usual(limits: Any) -> bool:
    """Whether all limits are the specification's defaults, which quick spans keep; others are left to the SDK's."""
    counts = ("span_attributes", "events", "links", "event_attributes", "link_attributes")
    lengths = (limits.max_attribute_length, limits.max_span_attribute_length)
    return lengths == (None, None) and all(getattr(limits, f"max_{each}") == quick.MOST_ATTRIBUTES for each in counts)


def _to_all(
    processors: Sequence[Any], written: Callable[[Sequence[QuickSpan]], bytes]
) -> Callable[[Sequence[QuickSpan]], object]:
    """Spans are written while they are in the CPU's cache, and wait as bytes: those that end together, together."""
    most = min(_MOST_TOGETHER, *(each.batch for each in processors))

    def sink(spans: Sequence[QuickSpan], most: int = most) -> None:
        for first in range(0, len(spans), most):
            those = spans[first : first + most]
            try:
                content = written(those)
            except Exception:
                if len(those) > 1:
                    sink(those, most=1)  # only what can't be written is to be lost
                else:
                    log.warning("a span could not be written and is lost", exc_info=True)
                continue
            for each in processors:
                each.put(content, len(those))

    return sink


def _takes_quick_spans(exporter: Any, encoder: Callable[..., Any], resource: Resource) -> bool:
    """Let an exporter of OTLP encode our quick spans, too; whether that could be done."""
    module: Any = sys.modules[type(exporter).__module__]
    encode = getattr(module, "encode_spans", None)  # how both of them encode what they export
    if encode is not None:
        module.encode_spans = encoder(resource.attributes, encode, as_message=".grpc." in module.__name__)
    return encode is not None


def _start_logs(resource: Resource, exporters: Sequence[Any]) -> Callable[[], object]:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    from .log_records import LogRecords

    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    handler = LogRecords(provider.get_logger("eventcore"))
    logging.getLogger().addHandler(handler)

    def stop() -> None:
        logging.getLogger().removeHandler(handler)
        provider.shutdown()

    return stop


def _stop_all(stops: Sequence[Callable[[], object]], seconds: float) -> None:
    """Flush and stop everything at once, but don't wait long for a collector that doesn't answer."""
    threads = [threading.Thread(target=stop, name="telemetry-flush", daemon=True) for stop in stops]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        log.warning("telemetry was not flushed within %(seconds).1f s, the last of it is lost", {"seconds": seconds})


def _chosen(signal: str) -> list[Any]:
    """New exporters for a signal, by `OTEL_<SIGNAL>_EXPORTER`; without it OTLP, where an endpoint is configured."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    asked = _endpoint(signal) if signal != "logs" else os.environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
    default = "otlp" if asked else "none"
    names = [name.strip() for name in (os.environ.get(variable) or default).split(",")]
    return [_exporter(signal, name, variable) for name in names if name not in ("none", "prometheus")]


def _exporter(signal: str, name: str, variable: str) -> Any:
    if name == "otlp":
        name, variable = _protocol(signal)
    place = _EXPORTERS.get((signal, name))
    if place is None:
        known = ", ".join(each for kind, each in _EXPORTERS if kind == signal)
        raise SettingsError(f"{variable}: there is no {name!r} here; known are {known}")
    if name == "http/protobuf":
        _check_address(signal)
    module, _, attribute = place.partition(":")
    make = getattr(import_module(module), attribute)
    return make(session=_session()) if (signal, name) == ("traces", "http/protobuf") else make()


def _check_address(signal: str) -> None:
    """Only gRPC takes a host and a port alone; over HTTP every export would fail, long after the start."""
    address, variable = _endpoint_and_variable(signal)
    parts = _split(address)
    if address and not (parts and parts.scheme in ("http", "https") and parts.hostname):
        raise SettingsError(f"{variable}: not an address that begins with http:// or https://: {address!r}")


def _split(address: str) -> SplitResult | None:
    """An address in its parts; `None` for what can't be one."""
    try:
        parts = urlsplit(address)
        return parts if parts.port != -1 and not re.search(r"\s", address) else None
    except ValueError:  # from either of the two
        return None


def _session() -> Any:
    """A session that does not look for proxies and passwords at each request; `None` where there might be some, or TLS.

    To look takes as long as the request to a collector nearby.
    """
    from requests import Session
    from requests.utils import get_environ_proxies, get_netrc_auth

    url = _endpoint("traces")
    provided = any(name.endswith("_CREDENTIAL_PROVIDER") for name in os.environ)
    if not url.startswith("http://") or provided or get_environ_proxies(url) or get_netrc_auth(url):
        return None
    session = Session()
    session.trust_env = False
    return session


def _endpoint(signal: str) -> str:
    return _endpoint_and_variable(signal)[0]


def _endpoint_and_variable(signal: str) -> tuple[str, str]:
    return _first_set(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def _protocol(signal: str) -> tuple[str, str]:
    """What the variables say, and which; else gRPC for its own port 4317, or the specification's `http/protobuf`."""
    said, variable = _first_set(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if not said:
        parts = _split(_endpoint(signal))
        return ("grpc" if parts and parts.netloc.endswith(":4317") else "http/protobuf"), ""
    return said, variable


def _first_set(*variables: str) -> tuple[str, str]:
    return next(((value, name) for name in variables if (value := os.environ.get(name))), ("", ""))


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
