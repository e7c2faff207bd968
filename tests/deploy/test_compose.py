"""compose.yaml brings up what the chart would: the same programs, ports, server, dashboards and alerts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventcore import Settings
from scripts import manifests
from tests.deploy.rendering import CHART, ROOT, SERVICES

COMPOSE = ROOT / "deploy/compose"
STACK: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())
    return loaded


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_as_the_specification_has_it() -> None:
    run(
        str(Path(sys.executable).with_name("check-jsonschema")),
        "--builtin-schema",
        "vendor.compose-spec",
        "compose.yaml",
    )


def test_docker_takes_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        [docker, "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_images_are_pinned_and_ours_are_those_that_make_images_builds() -> None:
    for name, service in STACK["services"].items():
        image = service["image"]
        if name in (*SERVICES, "tool"):
            of = "order" if name == "tool" else name
            prefix = VALUES["image"]["prefix"]
            assert image == f"${{IMAGE_PREFIX:-{prefix}}}/{of}:${{IMAGE_TAG:-{APP_VERSION}}}"
        else:
            assert re.fullmatch(r"docker\.io/[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", image), image
    assert STACK["services"]["redis"]["image"] == VALUES["redis"]["image"]


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for service in STACK["services"].values() for port in service.get("ports", ())]
    assert len(ports) == len({port.split(":")[1] for port in ports}) == 9
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_everything_that_is_mounted_or_built_is_there() -> None:
    for service in STACK["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in STACK["volumes"] or (ROOT / source).exists(), volume
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_programs_are_told_what_they_understand(name: str) -> None:
    environment = STACK["services"][name]["environment"]
    known = {field.upper() for field in Settings.model_fields}
    assert {each for each in environment if not each.startswith("OTEL_")} <= known
    port = environment["PORT"]
    assert STACK["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    [job] = [each for each in read("prometheus.yaml")["scrape_configs"] if each["job_name"] == name]
    [lookup] = job["dns_sd_configs"]
    assert (lookup["names"], str(lookup["port"])) == ([name], port)
    assert (ROOT / f"services/{name}/Dockerfile").read_text().count(f"EXPOSE {port}\n") == 1


def test_the_collector_connects_only_what_it_has() -> None:
    collector = read("collector.yaml")
    used = {kind: set() for kind in ("receivers", "processors", "exporters")}  # type: dict[str, set[str]]
    for pipeline in collector["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    assert used == {kind: set(collector[kind]) for kind in used}
    ports = [each["endpoint"].split(":")[1] for each in collector["receivers"]["otlp"]["protocols"].values()]
    assert STACK["services"]["collector"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    [(_, exposed)] = [each for each in collector["exporters"].items() if each[0] == "prometheus"]
    targets = read("prometheus.yaml")["scrape_configs"][-1]["static_configs"][0]["targets"]
    assert targets == [f"collector:{exposed['endpoint'].split(':')[1]}"]
    assert STACK["x-environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{ports[1]}"


def test_alerts_are_those_of_the_chart() -> None:
    for path, text in manifests.compose().items():
        assert path.read_text() == text, f"{path.name} differs: run scripts/render-manifests"


def test_prometheus_takes_its_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian and Ubuntu: apt-get install prometheus)")
    run(promtool, "check", "config", str(COMPOSE / "prometheus.yaml"))


def test_labels_are_those_that_alerts_and_dashboards_go_by() -> None:
    expressions = [rule["expr"] for group in read("alerts.yaml")["groups"] for rule in group["rules"]]
    selected = {match for expr in expressions for match in re.findall(r'namespace="(\w+)", pod=~"([^"]+)"', expr)}
    [(namespace, pods)] = selected
    *scraped, pushed = read("prometheus.yaml")["scrape_configs"]
    assert [job["job_name"] for job in scraped] == list(SERVICES)
    for job, steps, sample in (
        *((job, job["relabel_configs"], "172.18.0.3:8001") for job in scraped),
        (pushed, pushed["metric_relabel_configs"], "inventory-service;pod-1"),
    ):
        by_hand, from_name = steps
        assert by_hand == {"target_label": "namespace", "replacement": namespace}
        pod = re.sub(f"^{from_name['regex']}$", from_name["replacement"].replace("$", "\\"), sample)
        assert from_name["target_label"] == "pod"
        assert re.fullmatch(pods, pod), (job, pod)


def test_grafana_finds_its_sources_and_dashboards() -> None:
    sources = read("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    assert [each["isDefault"] for each in sources if each["type"] == "prometheus"] == [True]
    for each in sources:
        assert each["url"].split("/")[2].split(":")[0] in STACK["services"]
    [provider] = read("grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    mounts = dict(reversed(each.split(":")[:2]) for each in STACK["services"]["grafana"]["volumes"])
    folder = ROOT / mounts[provider["options"]["path"]]
    home = STACK["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / home.removeprefix(provider["options"]["path"] + "/")).is_file()
