"""Node and its packages, for the tests that need them: one group, so that one worker installs them, once."""

from __future__ import annotations

import pytest

from . import node


@pytest.fixture(scope="session")
def packages() -> None:
    """Node with the packages of `package.json`."""
    node.install()


@pytest.fixture(scope="session")
def programs(packages: None) -> None:
    """The TypeScript programs, compiled."""
    node.build()
