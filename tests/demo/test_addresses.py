"""What `make up` shows can be pasted."""

from __future__ import annotations

from pathlib import Path

import yaml

from demo.addresses import commands, telemetry


def test_commands_fit_on_a_line_of_a_terminal_and_have_no_comments() -> None:
    lines = commands("http://127.0.0.1:30001", "http://127.0.0.1:30002", "http://127.0.0.1:30003", "redis://x")
    assert max(map(len, lines)) <= 100
    assert not any(line.startswith("#") for line in lines)


def test_it_says_where_telemetry_goes_or_how_it_would() -> None:
    endpoint = "http://collector.example:4318"
    assert telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) == [f"sent to {endpoint} (OTEL_EXPORTER_OTLP_ENDPOINT)"]
    silent = telemetry({})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make up" in silent
    compose = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text())
    assert set(silent[-1].removeprefix("docker compose up ").split()) < set(compose["services"])
    assert "127.0.0.1:4318:4318" in compose["services"]["collector"]["ports"]
