"""Paging: `limit` and an opaque `cursor`, the same for every list."""

from __future__ import annotations

import base64

from pydantic import Field

from eventcore.events.event import Value


class Page(Value):
    """The query parameters of a list; subclass it to add filters.

    Every text of the pattern is a valid cursor, as the OpenAPI document says: one that was not given out here begins
    where its bytes would stand in the list.
    """

    limit: int = Field(default=100, ge=1, le=1000, description="How many to list at most.")
    cursor: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^([A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}$",  # base64url without padding
        description="The `nextCursor` of the page before; left out for the first page.",
    )

    @property
    def position(self) -> str | None:
        """Where this page begins: what `cursor_at` was given; `None` for the first page."""
        if self.cursor is None:
            return None
        raw = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
        return raw.decode(errors="surrogateescape")  # as `Members.next` writes what is no text

    @staticmethod
    def cursor_at(position: str) -> str:
        """The cursor of the page that begins at this position, which must not be empty."""
        return base64.urlsafe_b64encode(position.encode(errors="surrogateescape")).decode().rstrip("=")
