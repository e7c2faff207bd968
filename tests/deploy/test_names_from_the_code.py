"""Streams, groups and ports: what the chart names is what the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.chart_reference import SERVICES
from tests.deploy import rendering
from tests.deploy.rendering import ROOT


@pytest.mark.parametrize("name", SERVICES)
def test_programs_are_what_the_chart_thinks_they_are(name: str) -> None:
    text = (rendering.CHART / "templates/_services.tpl").read_text()
    table = re.search(r'define "ecommerce.programs" -}}\n(.*?){{-', text, re.DOTALL)
    assert table
    program: dict[str, Any] = yaml.safe_load(table[1])[name]
    settings = importlib.import_module(f"{name}_service.settings")
    ports = [model.model_fields["port"].default for model in vars(settings).values() if hasattr(model, "model_fields")]
    assert program["port"] in ports
    sources = "".join(path.read_text() for path in Path(ROOT / "services" / name / "src").rglob("*.py"))
    assert f'"{program["group"]}"' in sources
    consumed = "".join(path.read_text() for path in Path(ROOT / "libs/contracts/src").rglob("*.py")) + sources
    assert f'"{program["stream"]}"' in consumed
