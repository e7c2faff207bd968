"""The table of commands."""

from __future__ import annotations

import typer

from .acl import acl
from .dead_letters import list_letters, purge, redrive, show
from .forget import forget
from .pending import pending
from .publish import publish_event
from .replay import replay
from .running import Prefix, RedisUrl, command, paragraphs
from .status import status
from .tail import tail
from .trace import trace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, redrive, purge.")


def connection(ctx: typer.Context, redis_url: RedisUrl = None, prefix: Prefix = None) -> None:
    """See what streams, groups and dead letters are like, and act on them.

    Connects by the same environment variables as the services: REDIS_URL, REDIS_PASSWORD(_FILE), REDIS_CA_FILE,
    REDIS_SENTINELS with REDIS_SENTINEL_MASTER and REDIS_SENTINEL_PASSWORD(_FILE), KEY_PREFIX. Exit status: 0 done,
    1 failed, 2 wrong usage.
    """
    ctx.obj = {"redis_url": redis_url, "prefix": prefix}


app.callback(help=paragraphs(connection))(connection)
command(app)(status)
command(app)(pending)
command(app)(tail)
command(app)(trace)
command(app, "publish")(publish_event)
command(app)(replay)
command(app)(acl)
command(app)(forget)
app.add_typer(dlq, name="dlq")
command(dlq, "list")(list_letters)
command(dlq)(show)
command(dlq)(redrive)
command(dlq)(purge)
