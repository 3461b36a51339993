"""docs/training.md names the keys that there are, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from loragraft.training.config import TrainConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
SECTIONS = ("data", "prompt", "lora", "optimiser", "evaluation", "embedding", "grid")


def fields(section: str | None = None) -> set[str]:
    """Return the keys of a configuration or of a section of it."""
    kind: Any = TrainConfig if section is None else TrainConfig.model_fields[section].annotation
    return set(kind.model_fields)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_is_named(section: str) -> None:
    row = re.findall(rf"(?m)^\| `{section}` \| (.*) \|$", GUIDE)[0]
    assert fields(section) <= set(re.findall(r"`(\w+)`", row))


def test_every_key_outside_of_sections_is_named() -> None:
    (row,) = re.findall(r"(?m)^\| \| (.*) \|$", GUIDE)
    assert fields() - set(SECTIONS) <= set(re.findall(r"`(\w+)`", row))


def test_every_key_that_is_named_exists() -> None:
    named = re.findall(rf"\b({'|'.join(SECTIONS)})\.(?!md\b)([a-z_]+)", GUIDE)
    assert len(named) > 5
    assert [f"{one}.{key}" for one, key in named if key not in fields(one)] == []


def test_every_configuration_that_is_named_loads() -> None:
    paths = set(re.findall(r"\.\./(configs/training/\w+\.yaml)", GUIDE))
    assert paths == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "configs/training").glob("*.yaml")
    }
    for path in paths:
        load_config(ROOT / path)
