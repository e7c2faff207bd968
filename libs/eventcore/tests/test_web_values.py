"""How many values a body holds is found in little time and memory, whatever it holds."""

from __future__ import annotations

import json
import time

import pytest
from aiohttp import ClientResponse
from hypothesis import given
from hypothesis import strategies as st

from eventcore.web import create_service
from eventcore.web import request as reading

from .test_web import NOWHERE, notes_api, serving

JSON = {"Content-Type": "application/json"}
COMMAS = b"," * (reading.MOST_VALUES + 1)
TEXTS = st.text(alphabet='"\\,[{a', max_size=8)
CONTENTS = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5), max_leaves=20
)


def values(content: object) -> int:
    """Objects, lists, and what stands in them after the first."""
    if not isinstance(content, dict | list):
        return 0
    inner = content.values() if isinstance(content, dict) else content
    return 1 + max(0, len(content) - 1) + sum(map(values, inner))


@given(CONTENTS)
def test_values_are_counted_outside_of_strings(content: object) -> None:
    assert reading._values(json.dumps(content).encode()) == values(content)


def test_values_are_counted_across_portions() -> None:
    content = [["a,b" * number, {"[": number}] for number in range(2_000)]
    raw = json.dumps(content).encode()
    assert len(raw) > 10 * reading._PORTION
    assert reading._values(raw) == values(content)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'"' + b'\\"' * 40_000 + COMMAS, id="a string without end, of escaped quotes"),
        pytest.param(b'"' + b"\\" * 80_001 + COMMAS, id="a string without end, of backslashes"),
        pytest.param(b'["",' * 60_000, id="strings that are empty"),
    ],
)
async def test_no_body_takes_long_to_count(body: bytes) -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        began = time.process_time()
        answer: ClientResponse = await client.post("/notes", data=body, headers=JSON)
        assert answer.status in {400, 413}
        assert time.process_time() - began < 2  # it took minutes where each quote began a new search for the end
