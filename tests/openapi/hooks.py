"""What no schema can say, told to Schemathesis, which loads this module."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import schemathesis

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Any, kwargs: dict[str, Any]) -> None:
    """A client makes up a new key for each order; that one used for another order is refused has tests of its own."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and re.fullmatch("[!-~]([ -~]{0,253}[!-~])?", key):
        case.headers[KEY] = f"{key[:200].rstrip()}{uuid4().hex}"
