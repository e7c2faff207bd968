"""Event-driven services on Redis Streams whose work commits as a whole: acknowledgement, state and events together."""

from .consumer import Consumer
from .envelope import Envelope, Metadata, Origin, decode, encode, new_id, timestamp
from .errors import (
    Conflict,
    DurabilityUnknown,
    EventcoreError,
    Forbidden,
    GuardFailed,
    NotDurable,
    OutcomeUnknown,
    Reject,
    Retry,
    SettingsError,
    StreamFull,
    Unavailable,
    Undecodable,
    UnsupportedVersion,
)
from .event import Event, Value, Version
from .retry import RetryPolicy
from .router import Router
from .settings import Settings, load
from .store import Store
from .telemetry import log_event_duration
from .transaction import (
    Append,
    Field,
    Found,
    Guard,
    Hash,
    SortedSet,
    Text,
    Transaction,
    Write,
    delete,
    publish,
)

__all__ = [
    "Append",
    "Conflict",
    "Consumer",
    "DurabilityUnknown",
    "Envelope",
    "Event",
    "EventcoreError",
    "Field",
    "Forbidden",
    "Found",
    "Guard",
    "GuardFailed",
    "Hash",
    "Metadata",
    "NotDurable",
    "Origin",
    "OutcomeUnknown",
    "Reject",
    "Retry",
    "RetryPolicy",
    "Router",
    "Settings",
    "SettingsError",
    "SortedSet",
    "Store",
    "StreamFull",
    "Text",
    "Transaction",
    "Unavailable",
    "Undecodable",
    "UnsupportedVersion",
    "Value",
    "Version",
    "Write",
    "decode",
    "delete",
    "encode",
    "load",
    "log_event_duration",
    "new_id",
    "publish",
    "timestamp",
]
