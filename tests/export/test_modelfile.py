"""A bundle's Modelfile: what ends an answer can neither end its line nor start an instruction."""

from __future__ import annotations

import pytest

from loragraft.export.modelfile import quote, render_modelfile


@pytest.mark.parametrize("text", ["a\nFROM x", "a\r", "a\x00", "\x7f", 'a"""b'])
def test_text_that_no_parameter_can_carry_is_refused_and_left_out(text: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a Modelfile parameter"):
        quote(text)
    rendered = render_modelfile("m.gguf", ["</s>", text], 4096)
    assert [line for line in rendered.splitlines() if "stop" in line] == ['PARAMETER stop "</s>"']


@pytest.mark.parametrize(
    ("text", "quoted"), [("</s>", '"</s>"'), ("<|im end|>", '"<|im end|>"'), ('a"b', '"""a"b"""')]
)
def test_other_text_is_quoted(text: str, quoted: str) -> None:
    assert quote(text) == quoted
