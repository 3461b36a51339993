"""A tokenizer out of what ``/api/show`` tells: real vocabularies, against the files they are of."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.ollama_tokens import open_tokens
from loragraft.engine.llama_vocabulary import open_vocabulary
from loragraft.engine.ollama_server import OllamaServer


def server_showing(shown: dict[str, Any]) -> OllamaServer:
    told = json.loads(json.dumps(shown))
    return cast(OllamaServer, SimpleNamespace(vocabulary=lambda tag: told))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "llama-spm", "llama-bpe"])
def test_every_id_is_that_of_the_file(llama_cpp_source: Path, name: str) -> None:
    models = llama_cpp_source / "models"
    path = models / f"ggml-vocab-{name}.gguf"
    with GgufFile(path) as file:
        shown = {key: file.get(key) for key in file.keys}
    texts = (
        (models / f"ggml-vocab-{name}.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    )
    texts += [
        "<|im_start|>user\nWhat is tin?<|im_end|>\n",
        "[INST] Tin? [/INST]</s>",
        "",
        "Cafe\u0301",
    ]
    tokens = open_tokens(server_showing(shown), "m")
    assert tokens is not None
    with tokens, open_vocabulary(path) as own:
        for text in texts:
            assert tokens.prompt(text) == own.encode(text, add_special=True, parse_special=True)
            plain = own.encode(text, add_special=False, parse_special=True)
            assert tokens.count(text) == len(plain)
        assert tokens.count("\ud800") == tokens.count("?")
    with pytest.raises(FailedError, match="stopped"):
        tokens.count("after the end")
    tokens.close()
