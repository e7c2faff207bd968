"""JSON of any kind, for tests that throw it at whatever reads JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from .hostile import places, replaced

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)


@st.composite
def almost(draw: st.DrawFn, good: Any) -> bytes:
    """A good document with other JSON at one place, and perhaps a few bytes of its text changed."""
    place = draw(st.sampled_from(list(places(good))))
    raw = bytearray(json.dumps(replaced(good, place, draw(JSON))).encode())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


def bodies(good: Any) -> st.SearchStrategy[bytes]:
    """Anything that could be sent where this is what should be."""
    return almost(good) | JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50)
