"""eventcore's consumer without what it promises: commits are single commands in a pipeline, as a hand writes them.

At-least-once: no script, no fence, no cap. What eventcore needs more than this is what its guarantees cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from eventcore import Store, encode
from eventcore.commit.committer import Acknowledgement, CommitAnswer, Committed, Committer, Work
from eventcore.commit.transaction import Publish
from eventcore.server.pipe import Command

from . import ours, works
from .shapes import Contestants


class Unguarded(Committer):
    """Appends what was published and acknowledges, whoever may have done so before."""

    async def commit_all(
        self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement] = ()
    ) -> list[CommitAnswer]:
        """One command for each event, one acknowledgement a stream for all."""
        commands: list[Command] = []
        settled: dict[tuple[str, str], list[str]] = {}
        for each in work:
            for write in each.transaction.then:
                if not isinstance(write, Publish):
                    raise TypeError("only what publishes can do without guarantees")
                commands.append(("XADD", write.event.stream, "*", "event", encode(write.event, each.origin)))
            if each.fence is not None:
                settled.setdefault((each.fence.stream, each.fence.group), []).append(each.fence.entry_id)
        for done in acknowledgements:
            settled.setdefault((done.stream, done.group), []).extend(done.entry_ids)
        commands += [("XACK", stream, group, *entry_ids) for (stream, group), entry_ids in settled.items()]
        for reply in await self.pipe.pipeline(commands):
            if isinstance(reply, Exception):
                raise reply
        return [Committed()] * (len(work) + len(acknowledgements))


def store(url: str) -> Store:
    """A store whose consumers promise little."""
    bus = ours.store(url)
    bus.committer = Unguarded(bus.commands)
    return bus


CONTESTANTS: Contestants = {
    "eventcore, at-least-once": {works.PIPE: ours.consuming_all(lambda: [works.piping()], store=store)},
}
