"""Settings: whatever is wrong stops the program with one readable line that names the variable."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from annotated_types import Le
from pydantic_settings import BaseSettings

from eventcore import Consumer, Reject, Settings, SettingsError, Transaction, load
from eventcore.operate.retention import Retention
from eventcore.testing import run_until_idle
from eventcore.testing.fixtures import Connect

from .samples import DEAD_LETTERS, STREAM, Ordered, publish_orders, router_for

Environment = Callable[..., None]


def numbers_of(settings: type[BaseSettings]) -> list[str]:
    """The names of all settings that are numbers."""
    of_numbers = (int, float, float | None, int | None)
    return [name for name, field in settings.model_fields.items() if field.annotation in of_numbers]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Nothing in the environment; call it to put something there."""
    for name in os.environ.keys() & {field.upper() for field in Settings.model_fields}:
        monkeypatch.delenv(name)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def test_without_any_variable_there_are_defaults() -> None:
    settings = load(Settings)
    assert settings.redis_address == "localhost:6379"
    assert settings.key_prefix == ""
    assert settings.password is None
    assert settings.pod_name.endswith(f"-{os.getpid()}")


def test_variables_are_read(environment: Environment) -> None:
    environment(REDIS_URL="redis://u:secret@cache:7000/2", KEY_PREFIX="{shop}:", POD_NAME="pod-7", PORT="8123")
    settings = load(Settings)
    assert settings.redis_address == "cache:7000"
    assert (settings.key_prefix, settings.pod_name, settings.port) == ("{shop}:", "pod-7", 8123)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis:///0"),
        ("REDIS_URL", "redis://localhost:99999/0"),
        ("REDIS_URL", "redis://localhost:port/0"),
        ("REDIS_URL", "redis://localhost/zero"),
        ("REDIS_URL", "redis://localhost/\N{SUPERSCRIPT TWO}"),
        ("REDIS_URL", "redis://localhost/2147483648"),
        ("REDIS_URL", "redis://localhost/" + "9" * 5000),
        ("REDIS_URL", "redis://localhost/0?max_connections=5"),
        ("REDIS_PASSWORD_FILE", "/no/such/file"),
        ("REDIS_PASSWORD_FILE", "/"),
        ("REDIS_CA_FILE", "/no/such/file"),
        ("REDIS_CA_FILE", "/dev/null"),
        ("REDIS_CA_FILE", "/"),
        ("REDIS_SENTINELS", "sentinel"),
        ("REDIS_SENTINELS", "sentinel:"),
        ("REDIS_SENTINELS", "a:1,,b:2"),
        ("REDIS_SENTINELS", "a:65536"),
        ("REDIS_SENTINELS", "a:\N{SUPERSCRIPT TWO}"),
        ("KEY_PREFIX", "with space"),
        ("KEY_PREFIX", "x" * 101),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "tcp://10.0.0.1:8001"),
        ("POD_NAME", "two words"),
        ("POD_NAME", "x" * 254),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("CONSUMER_BATCH", "0"),
        ("CONSUMER_BATCH", "many"),
        ("CONSUMER_CONCURRENCY", "0"),
        ("CONSUMER_WAITING", "0"),
        ("RETRY_ATTEMPTS", "0"),
        ("ROLLOUT_SECONDS", "-1"),
        ("DRAIN_SECONDS", "-1"),
        ("HEARTBEAT_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "nan"),
        ("DEAD_AFTER_SECONDS", "0"),
        ("DEAD_AFTER_SECONDS", "1.5"),
        ("STREAM_CAP", "0"),
        ("STREAM_KEEP_SECONDS", "-1"),
        ("STREAM_KEEP_ENTRIES", "-1"),
        ("DLQ_KEEP_SECONDS", "-1"),
        ("DLQ_KEEP_ENTRIES", "0"),
        ("DROP_GROUPS_IDLE_SECONDS", "0"),
        ("EVICTION_POLICY", "allow"),
        ("GROUP_RECREATED_AT", "now"),
    ],
)
def test_a_wrong_value_gives_one_line_that_names_the_variable(
    variable: str, value: str, environment: Environment
) -> None:
    environment(**{variable: value})
    with pytest.raises(SettingsError, match=rf"\A{variable}\b.*\Z") as raised:
        load(Settings)
    assert "\n" not in str(raised.value)
    assert "pydantic" not in str(raised.value)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "-1e300", "1" + "0" * 30, "-1" + "0" * 30])
@pytest.mark.parametrize("variable", [name.upper() for name in numbers_of(Settings)])
def test_what_nobody_can_count_with_is_refused_by_every_number(
    variable: str, value: str, environment: Environment
) -> None:
    environment(**{variable: value})
    with pytest.raises(SettingsError, match=rf"\A{variable}: "):
        load(Settings)


def reject(order: Ordered) -> Transaction:
    raise Reject("no")


async def test_with_the_largest_numbers_events_are_handled_dead_lettered_and_trimmed(connect: Connect) -> None:
    metadata = {name: Settings.model_fields[name].metadata for name in numbers_of(Settings)}
    largest = {name: next(limit.le for limit in limits if isinstance(limit, Le)) for name, limits in metadata.items()}
    largest["management_port"] = 65_534  # it must be another than the API's
    store = await connect(**load(Settings, **largest).model_dump(include={*largest}))
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(reject)))
    assert await store.redis.xlen(DEAD_LETTERS) == 1
    await Retention(store, [STREAM]).trim()
    assert await store.redis.xlen(STREAM) == 1


def test_all_wrong_values_are_named_at_once(environment: Environment) -> None:
    environment(PORT="x", LOG_LEVEL="LOUD")
    with pytest.raises(SettingsError, match=r"PORT: .*; LOG_LEVEL: "):
        load(Settings)


@pytest.mark.parametrize("url", ["redis://:hush@localhost:99999/0", "redis://user:hush/hush@localhost"])
def test_no_complaint_shows_a_password(url: str, environment: Environment) -> None:
    environment(REDIS_URL=url)
    with pytest.raises(SettingsError) as raised:
        load(Settings)
    assert "hush" not in str(raised.value)
    settings = Settings(redis_url="redis://:hush@localhost/0", redis_password="hush")
    assert "hush" not in f"{settings!r} {settings.redis_url} {settings.redis_password}"


@pytest.mark.parametrize("given", ["REDIS_SENTINELS", "REDIS_SENTINEL_MASTER"])
def test_sentinels_and_the_masters_name_go_together(given: str, environment: Environment) -> None:
    environment(**{given: "sentinel:26379"})
    with pytest.raises(SettingsError, match="REDIS_SENTINELS and REDIS_SENTINEL_MASTER go together"):
        load(Settings)


def test_sentinels_are_split_at_commas(environment: Environment) -> None:
    environment(REDIS_SENTINELS="one:26379, [::1]:26380", REDIS_SENTINEL_MASTER="shop")
    settings = load(Settings)
    assert settings.redis_sentinels == (("one", 26379), ("::1", 26380))
    assert settings.redis_address == "shop by Sentinel"


def test_an_empty_variable_is_as_good_as_none(environment: Environment) -> None:
    environment(PORT="", REDIS_URL="", REDIS_PASSWORD="", REDIS_PASSWORD_FILE="", LOG_LEVEL="", REDIS_SENTINELS="")
    assert load(Settings) == Settings(pod_name=load(Settings).pod_name)


def test_what_kubernetes_injects_for_services_breaks_nothing(environment: Environment) -> None:
    address = "tcp://10.0.0.1:8001"
    names = ("ORDER", "REDIS", "INVENTORY", "NOTIFICATION", "VALKEY")
    environment(**{f"{name}_PORT": address for name in names}, **{f"{name}_SERVICE_HOST": "10.0.0.1" for name in names})
    environment(REDIS_PORT_6379_TCP=address, REDIS_SERVICE_PORT="6379", KUBERNETES_PORT=address)
    assert load(Settings).redis_address == "localhost:6379"


@pytest.mark.parametrize(
    ("variable", "password"),
    [("REDIS_PASSWORD", "password"), ("REDIS_SENTINEL_PASSWORD", "sentinel_password")],
)
def test_a_password_comes_from_its_variable_or_a_file(
    variable: str, password: str, environment: Environment, tmp_path: Path
) -> None:
    assert getattr(load(Settings), password) is None
    file = tmp_path / "password"
    file.write_text("from-the-file with spaces \n", encoding="utf-8")
    environment(**{f"{variable}_FILE": str(file)})
    assert getattr(load(Settings), password) == "from-the-file with spaces "
    environment(**{variable: "from-the-variable"})
    assert getattr(load(Settings), password) == "from-the-variable"
    assert "from-the-variable" not in repr(load(Settings))


def test_a_password_file_that_is_no_text_is_named(environment: Environment, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff\xfe\x00")
    environment(REDIS_PASSWORD_FILE=str(file))
    with pytest.raises(SettingsError, match=re.escape("REDIS_PASSWORD_FILE: ")):
        load(Settings)


def test_a_subclass_adds_its_own_settings(environment: Environment) -> None:
    class Mail(Settings):
        smtp_url: str

    with pytest.raises(SettingsError, match="SMTP_URL: Field required"):
        load(Mail)
    environment(SMTP_URL="smtp://localhost")
    assert load(Mail).smtp_url == "smtp://localhost"


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(Settings).port = 1  # type: ignore[misc]
