"""docs/templates.md, and with it every template of llama.cpp's collection."""

from __future__ import annotations

import pytest

from scripts import generate_template_docs


@pytest.mark.slow
def test_the_page_of_templates_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = generate_template_docs.main(["--check"])
    assert status == 0, capsys.readouterr().err
