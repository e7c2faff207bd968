"""`eventcore trace`: one request, or whatever else has an id, through all streams and dead letters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eventcore.operate.following import TraceStep, follow
from eventcore.operate.sought_id import SoughtId

from .letters import summary
from .options import Json
from .tool import Tool
from .trace_view import timeline


async def trace(
    tool: Tool,
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a story, an event, an entry, or what events are about.")],
    as_json: Json = False,
) -> None:
    """Follow an id through all streams, retry streams and dead letters, in time order.

    It may be a correlation id (or its first six characters), an event's or an entry's id, which lead to the same story,
    or any id that stands in the data of events, such as an order's. Says of each event where each group is with it:
    waiting (not delivered yet), aside (until its next attempt), pending (on whom, at which attempt), dead-lettered,
    handed on to the retry stream (redriven, or back from aside), or done, which is all else that the group has
    acknowledged (also where its dead letter was purged). Looks at every entry there is, which on long streams takes
    some seconds.
    """
    wanted = SoughtId.read(id)
    if not wanted.text:
        raise typer.BadParameter("must not be empty", param_hint="ID")
    story = await follow(tool.inspector, wanted)
    if as_json:
        head = {"id": wanted.text, "by": story.by, "correlationIds": story.correlation_ids}
        tool.output.document({**head, "events": [as_document(each) for each in story.steps]})
    else:
        tool.output.show(timeline(story.steps))


def as_document(step: TraceStep) -> dict[str, Any]:
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
                "dueInSeconds": each.due.total_seconds() if each.due is not None else None,
                "error": each.error,
            }
            for each in step.deliveries
        ],
        "deadLetter": summary(step.letter) if step.letter else None,
    }
