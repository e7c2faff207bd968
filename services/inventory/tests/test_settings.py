"""What the inventory service can be told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventcore import SettingsError, load
from inventory_service.settings import InventorySettings


def test_the_port_is_8002_whatever_kubernetes_injects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_PORT", "tcp://10.0.0.1:8002")
    assert load(InventorySettings).port == 8002


def test_reservations_outlive_their_orders_by_as_long_as_a_dead_letter_may_be_redriven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(InventorySettings).keep == timedelta(days=30 + 30)
    monkeypatch.setenv("STATE_KEEP_DAYS", "3")
    assert load(InventorySettings).keep == timedelta(days=3 + 30)
    monkeypatch.setenv("DLQ_KEEP_SECONDS", "0")
    assert load(InventorySettings).keep == timedelta(days=3 + 7)


def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_KEEP_DAYS", "0")
    with pytest.raises(SettingsError, match=r"^STATE_KEEP_DAYS: .*$"):
        load(InventorySettings)
