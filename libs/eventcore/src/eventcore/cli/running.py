"""Running a command: its options, settings, connection, and one line on stderr for whatever goes wrong."""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from eventcore.errors import SettingsError
from eventcore.server.connection import Connector
from eventcore.settings import Settings, load

from .complaints import explain_error
from .output import Output
from .tool import Tool

RedisUrl = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Connect here, whatever the environment says.")
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", metavar="PREFIX", help="What stands before every key (KEY_PREFIX).")
]

CommandFunction = Callable[..., Awaitable[None]]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def command(app: typer.Typer, name: str | None = None) -> Callable[[CommandFunction], CommandFunction]:
    """Register a coroutine function as a command: its first argument is the tool, all others are the user's.

    Every command also takes `--redis-url` and `--prefix`, which may stand before its name as well.
    """

    def register(function: CommandFunction) -> CommandFunction:
        def run_it(ctx: typer.Context, redis_url: str | None, prefix: str | None, **arguments: Any) -> None:
            before = ctx.obj or {}
            url = redis_url if redis_url is not None else before.get("redis_url")
            run_command(url, prefix if prefix is not None else before.get("prefix"), function, arguments)

        # typer makes the command line from this signature.
        run_it.__signature__ = _signature(function)  # type: ignore[attr-defined]
        run_it.__annotations__ = {}
        app.command(name or function.__name__, help=paragraphs(function))(run_it)
        return function

    return register


def paragraphs(function: Callable[..., Any]) -> str:
    """A docstring for the help page, which breaks lines where it wants to."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or "")


def _signature(function: CommandFunction) -> inspect.Signature:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    return inspect.Signature(
        [
            inspect.Parameter("ctx", _KEYWORD, annotation=typer.Context),
            *(each.replace(kind=_KEYWORD) for each in own),
            inspect.Parameter("redis_url", _KEYWORD, default=None, annotation=RedisUrl),
            inspect.Parameter("prefix", _KEYWORD, default=None, annotation=Prefix),
        ]
    )


def run_command(
    redis_url: str | None, prefix: str | None, function: CommandFunction, arguments: dict[str, Any]
) -> None:
    """Run a command to its end. Whatever happens becomes an exit status and at most one line."""
    output = Output()
    try:
        settings = settings_for(redis_url, prefix)
    except SettingsError as error:
        _fail(output, str(error), status=2)
    tool = Tool(settings, Connector(settings, role="eventcore-cli"), output)
    try:
        asyncio.run(_use(tool, function, arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(0 if tool.endless else 130) from None
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the one place: an operator is told what is wrong, in one line
        if settings.log_level == "DEBUG":
            traceback.print_exception(error)
        _fail(output, explain_error(error, settings.redis_address))


async def _use(tool: Tool, function: CommandFunction, arguments: dict[str, Any]) -> None:
    tool.listen_for_ctrl_c()
    try:
        await function(tool, **arguments)
    finally:
        await tool.close()
        tool.output.flush()


def settings_for(redis_url: str | None, prefix: str | None) -> Settings:
    """The environment's settings and what the command line says instead.

    A URL stands for the whole connection: it overrides Sentinel, and its password the environment's. Raises
    `SettingsError`.
    """
    instead: dict[str, Any] = {}
    if redis_url is not None:
        instead |= {"redis_url": SecretStr(redis_url), "redis_sentinels": (), "redis_sentinel_master": None}
        if _has_password(redis_url):
            instead |= {"redis_password": None, "redis_password_file": None}
    if prefix is not None:
        instead["key_prefix"] = prefix
    return load(Settings, **instead)


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:  # the settings say what is wrong with it
        return False


def _fail(output: Output, message: str, status: int = 1) -> NoReturn:
    output.complain(message)
    raise typer.Exit(status)
