"""Paging: `limit` and an opaque `cursor`, the same for every list."""

from __future__ import annotations

import base64

from pydantic import Field

from eventcore.events.event import Value


class Page(Value):
    """The query parameters of a list; subclass it to add filters.

    Every text of the pattern is a cursor, so that nothing is refused that the OpenAPI document allows: one that was not
    given out here leads to wherever its bytes would stand in the list.
    """

    limit: int = Field(default=100, ge=1, le=1000, description="How many to list at most.")
    cursor: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^([A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}$",  # base64url without padding
        description="The `nextCursor` of the page before; left out for the first page.",
    )

    @property
    def position(self) -> bytes | None:
        """Where this page begins: what `cursor_at` was given, in UTF-8; `None` for the first page."""
        return None if self.cursor is None else base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))

    @staticmethod
    def cursor_at(position: str | bytes) -> str:
        """The cursor of the page that begins at this position, which must not be empty."""
        raw = position.encode() if isinstance(position, str) else position
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")
