"""`eventcore trace`: one request, or one order, through all streams and dead letters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .following import Step, follow
from .letters import summary
from .options import Json
from .tool import Tool
from .trace_view import timeline

_shortest = 6


async def trace(
    tool: Tool,
    id: Annotated[str, typer.Argument(metavar="ID", help="A correlation id, or its beginning.")],
    order: Annotated[bool, typer.Option("--order", help="ID is an order's id: what its events call orderId.")] = False,
    as_json: Json = False,
) -> None:
    """Follow a correlation id through all streams, retry streams and dead letters, in time order.

    Says of each event where each group is with it: waiting (not delivered yet), pending (on whom, at which attempt),
    done, or dead-lettered. Looks at every entry there is, which on long streams takes some seconds.
    """
    id = id.rstrip("…")  # as `tail` shows it where there is little room
    if len(id) < _shortest:
        raise typer.BadParameter(f"say at least {_shortest} characters", param_hint="ID")
    steps = await follow(tool, id, order=order)
    if as_json:
        ids = sorted({step.entry.correlation_id for step in steps if step.entry.correlation_id})
        by = "orderId" if order else "correlationId"
        tool.output.document(
            {"id": id, "by": by, "correlationIds": ids, "events": [as_document(each) for each in steps]}
        )
    else:
        tool.output.show(timeline(steps))


def as_document(step: Step) -> dict[str, Any]:
    """A step for programs."""
    envelope = step.entry.envelope
    return {
        **step.entry.as_json(),
        "version": str(envelope.version) if envelope else None,
        "source": envelope.metadata.source if envelope else None,
        "causationId": envelope.metadata.causation_id if envelope else None,
        "deliveries": [
            {
                "group": each.group,
                "state": each.state,
                "consumer": each.consumer,
                "attempts": each.attempts,
                "idleSeconds": each.idle.total_seconds() if each.idle is not None else None,
            }
            for each in step.deliveries
        ],
        "deadLetter": summary(step.letter) if step.letter else None,
    }
