"""`eventcore acl`: the Redis users of a set of services, as their own code says what each does."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import typing
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from eventcore.events.personal_data import declared
from eventcore.operate.access import Activity, User, users
from eventcore.settings import Settings, load

from .complaints import ToolFailure
from .tool import Tool


class Format(StrEnum):
    """How users are written down."""

    SETUSER = "setuser"
    FILE = "file"
    JSON = "json"


Services = Annotated[
    list[str],
    typer.Argument(metavar="SERVICE", help="A package whose module app has create_app, or MODULE:FUNCTION."),
]
Passwords = Annotated[
    Path | None,
    typer.Option("--passwords", metavar="DIRECTORY", help="A file for each user, by name, with the password in it."),
]
As = Annotated[Format, typer.Option("--format", help="Commands for redis-cli, lines of an ACL file, or JSON.")]


async def acl(tool: Tool, services: Services, passwords: Passwords = None, format: As = Format.SETUSER) -> None:  # noqa: A002
    """Print the Redis users that services need: one for each, and three for this tool and for a console.

    Each service is created (not started) by its own settings, so that what it reads, publishes and keeps is known.
    Passwords are printed only as their SHA-256. Without --passwords, `setuser` leaves those that users have, and users
    of a `file` can't log in until they are given one. Nothing is asked of Redis.
    """
    prefix = tool.settings.key_prefix
    found = users([activity(each, prefix) for each in services], prefix=prefix, personal=declared())
    written = [(user, _password(passwords, user.name)) for user in found]
    match format:
        case Format.JSON:
            tool.output.document({"users": [_as_json(user, password) for user, password in written]})
        case Format.FILE:
            for user, password in written:
                tool.output.say(f"user {user.name} on {password}{user.rules}")
        case Format.SETUSER:
            for user, password in written:
                tool.output.say(f"ACL SETUSER {user.name} on {password}{user.rules}")


def activity(named: str, prefix: str) -> Activity:
    """What a service does, created by `<package>.app:create_app`, or by `module:function`. Raises `ToolFailure`."""
    from eventcore.web.service import SERVICE  # only here: what serves HTTP takes its time to import

    module, colon, function = named.partition(":")
    create = _function(module if colon else f"{module}.app", function or "create_app")
    app = create(load(_settings_class(create), key_prefix=prefix))
    try:
        found: Activity = app[SERVICE].activity
    except (KeyError, TypeError):
        raise ToolFailure(f"{named} makes no service: create_service does") from None
    return found


def _function(module: str, name: str) -> Callable[..., Any]:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ToolFailure(f"can't import {module}: {error}") from error
    if not callable(found):
        raise ToolFailure(f"{module} has no function {name}")
    made: Callable[..., Any] = found
    return made


def _settings_class(create: Callable[..., Any]) -> type[Settings]:
    """The class of settings that the function takes, by its annotation."""
    parameters = list(inspect.signature(create).parameters)
    kind = typing.get_type_hints(create).get(parameters[0]) if parameters else None
    if not (inspect.isclass(kind) and issubclass(kind, Settings)):
        raise ToolFailure(
            f"{create.__module__}:{create.__qualname__} must take the service's settings, and say their class"
        )
    return kind


def _password(directory: Path | None, user: str) -> str:
    """The password's digest as a rule, with a space after it; empty where no passwords are given."""
    if directory is None:
        return ""
    try:
        password = (directory / user).read_text().removesuffix("\n")
    except OSError as error:
        raise ToolFailure(f"no password for {user}: {error}") from error
    if not password:
        raise ToolFailure(f"the password of {user} is empty")
    return f"resetpass #{hashlib.sha256(password.encode()).hexdigest()} "


def _as_json(user: User, password: str) -> dict[str, object]:
    return {"name": user.name, "for": user.purpose, "rules": f"on {password}{user.rules}"}


def rules_of(services: Sequence[str], *, prefix: str = "") -> dict[str, str]:
    """The rules of all users of these services, by name."""
    found = users([activity(each, prefix) for each in services], prefix=prefix, personal=declared())
    return {user.name: user.rules for user in found}
