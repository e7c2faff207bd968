"""Who reads for a group, and who of them is alive: decided from what Redis says of the group's two streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventcore.consume.delivery import entry_time
from eventcore.consume.group_member import FOREIGN_IDLE

from .ids import milliseconds
from .state import ConsumerState


@dataclass(frozen=True, slots=True)
class Seen:
    """A group's consumers on one stream, by name: (idle milliseconds, pending entries), last heartbeat, types handled.

    A heartbeat at 0 was set by a consumer that left while it held something.
    """

    held: Mapping[str, tuple[int, int]]
    beats: Mapping[str, int]
    handles: Mapping[str, frozenset[str]]


def consumer_states(main: Seen, retry: Seen | None, *, now: int, dead_after: timedelta) -> tuple[ConsumerState, ...]:
    """The consumers by name, each once; `now` is in milliseconds of the server's clock."""
    both = [main, *([retry] if retry else [])]
    names = sorted({name for seen in both for name in (*seen.held, *seen.beats)})
    return tuple(_state(name, both, now, dead_after) for name in names)


def _state(name: str, both: Sequence[Seen], now: int, dead_after: timedelta) -> ConsumerState:
    beats = [seen.beats[name] for seen in both if name in seen.beats]
    beat = max(beats, default=None)
    idle = milliseconds(min((seen.held[name][0] for seen in both if name in seen.held), default=now - (beat or 0)))
    # A beat far ahead is of another server's clock, before a failover: who lives has beaten anew since.
    ahead = beat is not None and milliseconds(beat - now) > dead_after
    silent = milliseconds(now - beat) if beat and not ahead else None
    pending = [seen.held[name][1] if name in seen.held else 0 for seen in both]
    return ConsumerState(
        name=name,
        alive=idle < FOREIGN_IDLE if beat is None else silent is not None and silent <= dead_after,
        left=beat == 0,
        last_beat=entry_time(f"{beat}-0") if beat else None,
        silent=silent,
        idle=idle,
        pending=pending[0],
        retry_pending=sum(pending[1:]),
        handles=both[0].handles.get(name),
    )
