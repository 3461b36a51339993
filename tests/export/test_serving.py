"""What a bundle says of conversations: stops from every source, and a Modelfile that holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from loragraft.export.serving import serving_of
from loragraft.ollama.modelfile import parse_modelfile

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
JOINED = "Ollama joins adjacent messages"
"""A note on every template without an order of roles of its own: Ollama's way, not the bundle's."""
TOKENS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "\u2028", "a", "##"]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def build(template: str | None = CHATML, **generation: Any) -> Path:  # noqa: ANN401
        writer = GGUFWriter(tmp_path / "m.gguf", "llama")
        writer.add_context_length(512)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(TOKENS)
        writer.add_token_types([2, 3, 3, 3, 3, 3, 1, 1])
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)
        if template is not None:
            writer.add_chat_template(template)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
        return tmp_path / "m.gguf"

    return build


def test_stops_are_the_file_s_the_template_s_and_the_checkpoint_s(write: Write) -> None:
    gguf = write(eos_token_id=[2, 6])
    serving = serving_of(gguf, gguf.parent)
    assert serving.stops == ("</s>", "<|im_end|>", "a")
    modelfile = parse_modelfile(serving.modelfile)
    assert modelfile.source == "./m.gguf"
    assert modelfile.stops == serving.stops
    assert modelfile.value("num_ctx") == 512
    assert "<|im_start|>" in (modelfile.template or "")
    assert [text for text in serving.warnings if not text.startswith(JOINED)] == []


def test_a_stop_outside_the_vocabulary_is_said(write: Write) -> None:
    gguf = write(eos_token_id=99)
    assert "99 is named as an end" in serving_of(gguf, gguf.parent).warnings[0]


def test_a_stop_that_no_modelfile_can_hold_is_left_out_there(write: Write) -> None:
    gguf = write(eos_token_id=5)
    serving = serving_of(gguf, gguf.parent)
    assert "\u2028" in serving.stops
    assert parse_modelfile(serving.modelfile).stops == ("</s>", "<|im_end|>")


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no') }}", "{% for %}"])
def test_without_a_usable_template_the_modelfile_has_none_and_says_why(
    write: Write, template: str | None
) -> None:
    gguf = write(template)
    serving = serving_of(gguf, gguf.parent)
    assert parse_modelfile(serving.modelfile).template is None
    assert serving.warnings[0].startswith("The Modelfile has no TEMPLATE: ")


def test_a_template_with_text_that_ollama_would_drop_is_sent_only_by_register(
    write: Write,
) -> None:
    gguf = write(CHATML.replace("assistant\n", 'assistant """\n'))
    serving = serving_of(gguf, gguf.parent)
    modelfile = parse_modelfile(serving.modelfile)
    assert modelfile.stops == ("</s>", "<|im_end|>")
    assert modelfile.source == "./m.gguf"
