"""Event-driven services on Redis Streams whose work commits as a whole: acknowledgement, state and events together."""

from .commit.query import Members, Query, Readable, sound
from .commit.store import Store
from .commit.transaction import (
    Append,
    Found,
    Guard,
    Hash,
    HashField,
    SortedSet,
    String,
    Transaction,
    Write,
    delete,
    publish,
)
from .consume.consumer import Consumer
from .consume.retry_policy import RetryPolicy
from .consume.router import Router
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
    Unreadable,
    UnsupportedVersion,
)
from .events.envelope import Envelope, Metadata, Origin, decode, encode, new_id, timestamp
from .events.event import Event, Value, Version
from .settings import Settings, load
from .telemetry import log_event_duration

__all__ = [
    "Append",
    "Conflict",
    "Consumer",
    "DurabilityUnknown",
    "Envelope",
    "Event",
    "EventcoreError",
    "Forbidden",
    "Found",
    "Guard",
    "GuardFailed",
    "Hash",
    "HashField",
    "Members",
    "Metadata",
    "NotDurable",
    "Origin",
    "OutcomeUnknown",
    "Query",
    "Readable",
    "Reject",
    "Retry",
    "RetryPolicy",
    "Router",
    "Settings",
    "SettingsError",
    "SortedSet",
    "Store",
    "StreamFull",
    "String",
    "Transaction",
    "Unavailable",
    "Undecodable",
    "Unreadable",
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
    "sound",
    "timestamp",
]
