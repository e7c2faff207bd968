"""No number in a setting is so large, so small or so odd that Redis or asyncio can't count with it."""

from __future__ import annotations

import pytest
from annotated_types import Ge, Gt, Le, Lt

from eventcore import Settings, SettingsError, load
from inventory_service.settings import InventorySettings
from notification_service.settings import NotificationSettings
from order_service.settings import OrderSettings

SERVICES: tuple[type[Settings], ...] = (InventorySettings, NotificationSettings, OrderSettings)
NUMBERS = [
    pytest.param(settings, name, id=f"{settings.__name__}.{name}")
    for settings in SERVICES
    for name, field in settings.model_fields.items()
    if field.annotation in (int, float, int | None, float | None)
]


@pytest.mark.parametrize(("settings", "name"), NUMBERS)
def test_every_number_has_a_least_and_a_most(settings: type[Settings], name: str) -> None:
    limits = settings.model_fields[name].metadata
    assert any(isinstance(limit, Ge | Gt) for limit in limits)
    assert any(isinstance(limit, Le | Lt) for limit in limits)


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "9" * 30, "-1e300"])
@pytest.mark.parametrize(("settings", "name"), NUMBERS)
def test_what_nobody_can_count_with_is_refused_in_a_line_that_names_it(
    settings: type[Settings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(SettingsError, match=rf"\A{name.upper()}: .*\Z"):
        load(settings)
