"""Which commands the driver for Kubernetes runs, and what it makes of how pods and processes are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.__main__ import take_away
from tests.e2e.driver import Broken
from tests.e2e.kind import hand
from tests.e2e.kind.ground import Ground
from tests.e2e.kind.installation import Installation
from tests.e2e.kind.pods import Pods, documents
from tests.e2e.kind.settings import ROOT, Settings
from tests.e2e.kind.tools import Tools

SETTINGS = Settings(image_tag="1.2.3")

# Which commands are run


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Programs on PATH that say what they are told to, and write down how they were called."""
    calls = tmp_path / "calls"
    calls.touch()
    fake = tmp_path / "bin/fake"
    fake.parent.mkdir()
    fake.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "name = pathlib.Path(sys.argv[0]).name\n"
        f"open({str(calls)!r}, 'a').write(json.dumps([name, *sys.argv[1:]]) + '\\n')\n"
        "line = ' '.join([name, *sys.argv[1:]])\n"
        "said = next((s for p, s in json.loads(os.environ['FAKE']).items() if p in line), '')\n"
        "print(said)\n"
        "sys.exit(said.startswith('error'))\n"
    )
    fake.chmod(0o755)
    for name in ("kubectl", "helm", "kind", "docker"):
        (tmp_path / "bin" / name).symlink_to(fake)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setenv("FAKE", "{}")
    monkeypatch.setattr("tests.e2e.kind.ground.WORK", tmp_path)
    monkeypatch.setattr("tests.e2e.kind.tools.WORK", tmp_path)

    def called(**said: str) -> list[list[str]]:
        if said:
            monkeypatch.setenv("FAKE", json.dumps({key.replace("_", " "): value for key, value in said.items()}))
        return [json.loads(line) for line in calls.read_text().splitlines()]

    return called


async def test_a_cluster_is_made_with_the_images_in_it_and_removed(
    programs: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.e2e.kind.ground.ROOT", Path("/nowhere"))
    ground = Ground(Tools(Settings(image_tag="7", redis_image="redis:8", node_image="node:1")))
    with pytest.raises(Broken, match=r"/nowhere/scripts/images"):
        await ground.prepare()
    monkeypatch.setattr(Ground, "_build", lambda self: Tools(SETTINGS).run(["docker", "build"]))
    await ground.prepare()
    await ground.remove()
    lines = [" ".join(call) for call in programs()]
    assert any(
        line.startswith("kind create cluster --name ecommerce-e2e --config") and line.endswith("--image node:1")
        for line in lines
    )
    loaded = [line for line in lines if line.startswith("kind load image-archive")]
    assert [line.rpartition("/")[2] for line in loaded] == [
        f"{name}.tar --name ecommerce-e2e" for name in ("order-7", "inventory-7", "notification-7", "redis-8")
    ]
    assert lines[-1] == "kind delete cluster --name ecommerce-e2e"


async def test_a_cluster_that_is_there_is_used_and_stays(programs: Callable[..., list[list[str]]]) -> None:
    programs(kind_get="ecommerce-e2e\nother")
    ground = Ground(Tools(Settings(images_present=True, image_tag="7")))
    await ground.prepare()
    await ground.remove()
    lines = [" ".join(call) for call in programs()]
    assert not [line for line in lines if line.startswith(("kind create", "kind delete", "kind load", "docker"))]
    assert lines[-1].startswith("kubectl --context kind-ecommerce-e2e")


async def test_with_a_context_and_images_present_neither_kind_nor_an_engine_is_needed(
    programs: Callable[..., list[list[str]]],
) -> None:
    await Ground(Tools(Settings(context="prod", images_present=True, image_tag="7"))).prepare()
    assert {call[0] for call in programs()} == {"kubectl"}
    assert all(call[1:3] == ["--context", "prod"] for call in programs())


async def test_images_cant_be_loaded_into_just_any_cluster(
    programs: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ground, "_build", lambda self: Tools(SETTINGS).run(["docker", "build"]))
    with pytest.raises(Broken, match="E2E_IMAGES=present"):
        await Ground(Tools(Settings(context="prod", image_tag="7"))).prepare()


@pytest.mark.parametrize(
    ("phase", "waits", "removes"),
    [("", False, "kubectl delete namespace"), ("Terminating", True, "kubectl delete namespace"), ("Active", False, "")],
)
async def test_a_namespace_is_ours_unless_it_is_there_to_stay(
    programs: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch, phase: str, waits: bool, removes: str
) -> None:
    async def no_upgrade(self: Installation) -> None: ...

    programs(get=phase)
    monkeypatch.setattr(Installation, "upgrade", no_upgrade)
    installation = Installation(Tools(Settings(context="c", image_tag="7")))
    await installation.install()
    await installation.remove()
    lines = [" ".join([call[0], *call[5:]]) for call in programs()]
    assert waits == any(line.startswith("kubectl wait --for=delete namespace/ecommerce-e2e") for line in lines)
    assert lines[-1].startswith(removes or "kubectl delete pvc -l app.kubernetes.io/instance=shop")


async def test_what_cant_be_removed_is_told_and_the_rest_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    removed: list[str] = []

    async def stuck() -> None:
        raise Broken("the cluster does not answer")

    async def fine() -> None:
        removed.append("the rest")

    await take_away(stuck, fine)
    assert removed == ["the rest"]
    assert "something is left behind: the cluster does not answer" in capsys.readouterr().err


async def test_every_command_is_printed_and_its_failure_is_told(
    programs: Callable[..., list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    programs(test="error: no such release")
    tools = Tools(Settings(context="c", helm="helm --debug"))
    with pytest.raises(Broken, match="no such release"):
        await tools.helm("test", "shop one")
    printed = capsys.readouterr().out.splitlines()[0]
    assert printed == "$ helm --debug test 'shop one' --kube-context c --namespace ecommerce-e2e"
    with pytest.raises(Broken, match="name it by HELM"):
        await Tools(Settings(helm="no-such-helm")).helm("version")


# How pods end


def a_pod(name: str = "shop-order-1", *, leaving: bool = False, ended: int | None = None) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}}
    if ended is not None:
        state = {"terminated": {"exitCode": ended, "finishedAt": "2026-11-23T10:00:08Z"}}
    metadata: dict[str, Any] = {"name": name, "labels": {"app.kubernetes.io/component": "order"}}
    if leaving:
        metadata |= {"deletionTimestamp": "2026-11-23T10:00:30Z", "deletionGracePeriodSeconds": 30}
    statuses = [
        {"name": "sidecar", "state": {}, "containerID": "containerd://other"},
        {"name": "order", "state": state, "containerID": "containerd://abc"},
    ]
    status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": statuses}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": status}


def test_the_watch_knows_who_is_there_and_how_they_ended() -> None:
    watched = Pods(Tools(SETTINGS))
    watched.see("ADDED", a_pod())
    assert [(pod.name, pod.container, pod.running) for pod in watched.of("order")] == [("shop-order-1", "abc", True)]
    watched.see("MODIFIED", a_pod(leaving=True))
    assert (watched.of("order"), watched.leaving()) == ([], ["shop-order-1"])
    watched.see("DELETED", a_pod(leaving=True, ended=0))
    assert watched.leaving() == []
    assert [(each.status, each.seconds, each.clean) for each in watched.exits] == [(0, 8, True)]


@pytest.mark.parametrize("ended", [137, None])
def test_a_pod_that_was_killed_or_whose_end_was_not_seen_has_not_ended_in_order(ended: int | None) -> None:
    watched = Pods(Tools(SETTINGS))
    watched.see("DELETED", a_pod(leaving=True, ended=ended))
    assert not watched.exits[0].clean


def test_documents_are_read_as_they_come() -> None:
    text = json.dumps({"a": "}"}, indent=2) + "\n" + json.dumps({"b": 1})
    for cut in range(len(text)):
        first, rest = documents(text[:cut])
        second, left = documents(rest + text[cut:])
        assert (first + second, left.strip()) == ([{"a": "}"}, {"b": 1}], "")


# What a hand does


def test_a_hand_finds_the_first_process_of_a_container(tmp_path: Path) -> None:
    for pid, cgroup, ids in ((5, "init", "5"), (30, "abc", "30 7"), (200, "abc", "200 1"), (300, "other", "300 1")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/../../kubelet/cri-containerd-{cgroup}.scope\n")
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nNSpid:\t{ids}\n")
    assert hand.first_process("abc", tmp_path) == 200
    with pytest.raises(SystemExit, match=hand.NO_SUCH_PROCESS):
        hand.first_process("gone", tmp_path)


def test_what_runs_in_the_cluster_stands_alone() -> None:
    for name, may in (("agent", {"aiohttp", "redis"}), ("hand", set[str]())):
        text = (ROOT / f"tests/e2e/kind/{name}.py").read_text()
        imported = {
            line.split()[1].partition(".")[0]
            for line in text.splitlines()
            if line.strip().startswith(("import ", "from "))
        }
        assert imported - may <= sys.stdlib_module_names, imported
