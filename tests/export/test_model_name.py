"""llama.cpp reads a Phi-3 tokenizer by the model's name: the name must say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loragraft.export.model_name import exported_name

PHI3 = {"added_tokens": [{"id": 7, "content": "<|end|>", "rstrip": True}]}
PLAIN = {"added_tokens": [{"id": 7, "content": "<|end|>", "rstrip": False}, 3]}


@pytest.mark.parametrize(
    ("name", "architecture", "tokenizer", "expected"),
    [
        ("science", "phi3", PHI3, "science (Phi-3)"),
        ("science", "phi3", PLAIN, "science"),
        ("my-Phi-3.5-mini", "phi3", PHI3, "my-Phi-3.5-mini"),
        ("PHI3-science", "phi3", PHI3, "PHI3-science"),
        ("science", "llama", PHI3, "science"),
        ("science", "phi3", {}, "science"),
    ],
)
def test_only_a_phi_3_that_needs_it_is_named_so(
    name: str, architecture: str, tokenizer: dict[str, object], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert exported_name(name, architecture, tmp_path) == expected


def test_the_decoder_table_counts_where_there_is_no_tokenizer_json(tmp_path: Path) -> None:
    table = {"added_tokens_decoder": {"7": {"content": "<|end|>", "rstrip": True}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(table))
    assert exported_name("science", "phi3", tmp_path) == "science (Phi-3)"
    assert exported_name("science", "phi3", tmp_path / "nowhere") == "science"
