"""Composed characters, as Qwen's tokenizers make them and llama.cpp does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.composition import compose, composes
from loragraft.engine.conversation import Literals
from loragraft.engine.llama import LlamaEngine

FOUND = {"gates": [{"name": "tokenizer", "details": {"known_differences": {"composition": 3}}}]}
NONE_FOUND = {"gates": [{"name": "tokenizer", "details": {"known_differences": {}}}]}


def test_text_is_composed_between_special_tokens_only() -> None:
    special = Literals(["<|x|>"])
    # An overlay after the bracket would make another sign of it.
    assert compose("e\u0301<|x|>\u0338e\u0301", special) == "é<|x|>\u0338é"
    assert compose("e\u0301", Literals([])) == "é"
    assert compose("plain", special) == "plain"


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("qwen3", {}, True), ("llama3", {}, False), ("llama", {}, False),
        ("qwen3", NONE_FOUND, False), ("llama3", FOUND, True),
        ("qwen3", {"gates": [{"name": "tokenizer"}]}, True), ("qwen3", {"gates": 3}, True),
    ],
)  # fmt: skip
def test_the_export_s_comparison_goes_before_the_kind_of_tokenizer(
    name: str,
    metadata: Mapping[str, Any],
    expected: bool,
    talking_bundle: Callable[[str], Path],
) -> None:
    with GgufFile(open_model(talking_bundle(name)).gguf) as file:
        assert composes(file, metadata) is expected


def test_a_bundle_and_its_bare_file_give_the_same_ids(
    talking_bundle: Callable[[str], Path],
) -> None:
    model = open_model(talking_bundle("qwen3"))
    ids = []
    for opened in (model, LocalModel(model.gguf, "bare")):
        engine = LlamaEngine(opened, threads=1)
        ids.append(engine.prompt_ids([{"role": "user", "content": "cafe\u0301"}]))
        engine.close()
    assert ids[0] == ids[1]
