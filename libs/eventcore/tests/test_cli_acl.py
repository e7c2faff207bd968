"""`eventcore acl`: users are written for redis-cli, for an ACL file or for programs, and passwords only as digests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from eventcore import Hash, Settings
from eventcore.testing import Server
from eventcore.testing.fixtures import StartServer
from eventcore.web import create_service

from .samples import GROUP, STREAM, acknowledge, router_for
from .tool import client, one_line, run

HERE = "libs.eventcore.tests.test_cli_acl"
NAMES = ["shipper", "eventcore-look", "eventcore-operator", "eventcore-console"]


class ShipperSettings(Settings):
    """Those of a service of somebody's own."""


def create_app(settings: ShipperSettings) -> web.Application:
    return create_service(
        settings, name="shipper", routers=[router_for(acknowledge)], keeps=[Hash("parcel:*")], description="Ships."
    )


def nothing(settings: ShipperSettings) -> None:
    """Makes no service."""


def untold(settings) -> None:  # type: ignore[no-untyped-def]
    """Does not say which settings."""


def test_the_lines_are_commands_that_keep_passwords_and_can_be_given_again(redis_server: Server) -> None:
    with client(redis_server) as connected:
        connected.execute_command("ACL", "SETUSER", "shipper", "on", ">secret", "~everything", "+get")
        lines = run(None, "acl", f"{HERE}:create_app").lines
        for line in [*lines, *lines]:
            connected.execute_command(*line.split())
        assert [line.split()[2] for line in lines] == NAMES
        user: Any = connected.acl_getuser("shipper")
        assert user["passwords"] == [hashlib.sha256(b"secret").hexdigest()]
        assert "everything" not in str(user["keys"])
        connected.execute_command("ACL", "DELUSER", *NAMES)


def test_a_file_is_loaded_by_a_server_and_holds_no_password(start_server: StartServer, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    for name in NAMES:
        (passwords / name).write_text(f"{name}'s secret\n")
    written = run(None, "acl", f"{HERE}:create_app", "--format", "file", "--passwords", str(passwords)).stdout
    assert "secret" not in written
    (tmp_path / "users.acl").write_text(written)
    server = start_server(options={"aclfile": str(tmp_path / "users.acl")})
    with client(server) as connected:
        assert set(connected.acl_users()) == {"default", *NAMES}
        assert connected.execute_command("AUTH", "shipper", "shipper's secret")


def test_users_are_of_the_prefix_that_keys_have(redis_server: Server) -> None:
    env = {"KEY_PREFIX": "{shop}:"}
    made = run(redis_server, "acl", f"{HERE}:create_app", "--format", "json", env=env).json["users"]
    rules = {each["name"]: each["rules"] for each in made}
    assert f"~{{shop}}:{STREAM}:{GROUP}:*" in rules["shipper"]
    assert "~{shop}:parcel:*" in rules["shipper"]
    words = [word for each in rules.values() for word in each.replace(")", "").split() if "~" in word]
    assert all("~{shop}:" in word for word in words)


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("no_such_service", "can't import no_such_service.app"),
        (f"{HERE}:absent", "has no function absent"),
        (f"{HERE}:nothing", "makes no service"),
        (f"{HERE}:untold", "must take the service's settings"),
    ],
)
def test_what_is_no_service_is_one_line(service: str, reason: str) -> None:
    assert reason in one_line(run(None, "acl", service, status=1).stderr)


def test_a_password_that_is_missing_is_one_line(tmp_path: Path) -> None:
    result = run(None, "acl", f"{HERE}:create_app", "--passwords", str(tmp_path), status=1)
    assert "no password for shipper" in one_line(result.stderr)
