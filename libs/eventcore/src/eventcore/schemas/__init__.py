"""Schemas on file: what each version of each event looks like, kept beside the code so that no change goes unnoticed.

    problems = check([OrderCreated, OrderCancelled], Path("schemas"))

For every version of an event there are `<type>/<version>.json`, the JSON Schema of its data, and
`<type>/<version>.examples.json`, a list of whole events as they stand in streams. `python -m eventcore.schemas` does
the same for all events of a module.
"""

from .comparing import Change, ChangeKind, compare
from .generating import METADATA_SCHEMA, data_schema, data_schemas, envelope_schema, event_schema
from .shelf import check, write_schemas

__all__ = [
    "METADATA_SCHEMA",
    "Change",
    "ChangeKind",
    "check",
    "compare",
    "data_schema",
    "data_schemas",
    "envelope_schema",
    "event_schema",
    "write_schemas",
]
