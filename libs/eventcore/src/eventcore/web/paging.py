"""Paging: `limit` and an opaque `cursor`, the same for every list."""

from __future__ import annotations

import base64

from pydantic import Field, field_validator

from eventcore.event import Value

from .problems import Problem

_not_ours = "is not a cursor that was given out here"


class Page(Value):
    """The query parameters of a list; subclass it to add filters.

    `position` is where the page begins: whatever `cursor_at` was given for it; `None` for the first page.
    """

    limit: int = Field(100, ge=1, le=1000, description="How many to list at most.")
    cursor: str | None = Field(
        None,
        max_length=1024,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The `nextCursor` of the page before; left out for the first page.",
    )

    @field_validator("cursor")
    @classmethod
    def _ours(cls, cursor: str | None) -> str | None:
        if cursor is not None and _decoded(cursor) is None:
            raise ValueError(_not_ours)
        return cursor

    @property
    def position(self) -> str | None:
        """Where this page begins."""
        return None if self.cursor is None else _decoded(self.cursor)

    @staticmethod
    def cursor_at(position: str) -> str:
        """The cursor of the page that begins at this position."""
        return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")

    @staticmethod
    def bad_cursor() -> Problem:
        """What to raise for a position that makes no sense, although it could be decoded."""
        return Problem(422, detail=f"cursor: {_not_ours}", errors=[{"field": "cursor", "message": _not_ours}])


def _decoded(cursor: str) -> str | None:
    """The position in a cursor; `None` if it could not have been made by `cursor_at`."""
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None
    return position if position and Page.cursor_at(position) == cursor else None
