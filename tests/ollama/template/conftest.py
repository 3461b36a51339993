"""Templates to translate, and Go to judge the results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.go_template import GoTemplates

FIXTURES = Path(__file__).with_name("fixtures")
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.fixture(scope="session")
def go(shared_folder: Path) -> Iterator[GoTemplates]:
    """Go's text/template with Ollama's preparation."""
    templates = GoTemplates(shared_folder / "go-template")
    yield templates
    templates.close()
