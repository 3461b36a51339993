"""Files that cannot answer: said in words, and this process lives on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine import llama_check
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.llama_check import check_loads
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import (
    BundleError,
    InputError,
    LoragraftError,
    OutOfMemoryError,
    TemplateError,
    UnavailableError,
)

USER: list[Message] = [{"role": "user", "content": "lazy"}]


@pytest.fixture
def file(talking_bundle: Callable[[str], Path], tmp_path: Path) -> Path:
    """A GGUF that may be spoilt."""
    copy = tmp_path / "model.gguf"
    copy.write_bytes(open_model(talking_bundle("qwen3")).gguf.read_bytes())
    return copy


def spoil(path: Path, key: str, value: bytes) -> None:
    """Overwrite a metadata value: it begins after the key and four bytes of its type."""
    data = path.read_bytes()
    at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key) + 4
    path.write_bytes(data[:at] + value + data[at + len(value) :])


def rename(path: Path, before: str, after: str) -> None:
    data = path.read_bytes()
    assert before.encode() in data
    path.write_bytes(data.replace(before.encode(), after.encode()))


def load(path: Path) -> LlamaEngine:
    return LlamaEngine(LocalModel(path, "model"), threads=1)


def test_a_truncated_file(file: Path) -> None:
    data = file.read_bytes()
    for size in (0, 3, 20, 2000, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(BundleError):
            load(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qwen3.attention.head_count", struct.pack("<I", 0)),
        ("qwen3.attention.head_count", struct.pack("<I", 3)),
        ("qwen3.attention.head_count_kv", struct.pack("<I", 0)),
        ("qwen3.attention.key_length", struct.pack("<I", 0xFFFFFFFF)),
        ("qwen3.block_count", struct.pack("<I", 0xFFFFFFFF)),
        ("qwen3.embedding_length", struct.pack("<I", 7)),
        ("qwen3.attention.layer_norm_rms_epsilon", struct.pack("<f", float("nan"))),
        ("qwen3.context_length", struct.pack("<I", 0)),
        ("tokenizer.ggml.eos_token_id", struct.pack("<I", 0xFFFFFFF0)),
    ],
)
def test_hostile_metadata_never_takes_the_process_down(file: Path, key: str, value: bytes) -> None:
    spoil(file, key, value)
    try:
        engine = load(file)
    except LoragraftError as error:
        assert "model.gguf" in str(error)  # noqa: PT017
        return
    reply = engine.chat(USER, Sampling(temperature=0, max_tokens=3))
    assert reply.finish in ("stop", "length")
    engine.close()


def test_an_architecture_that_llama_cpp_does_not_know(file: Path) -> None:
    rename(file, "qwen3", "qwenX")
    with pytest.raises(BundleError, match="unknown model architecture"):
        load(file)


def test_a_tensor_that_is_missing(file: Path) -> None:
    rename(file, "blk.1.ffn_down.weight", "blk.1.ffn_dawn.weight")
    with pytest.raises(BundleError, match="ffn_down"):
        load(file)


def test_a_file_without_a_chat_template(file: Path) -> None:
    rename(file, "tokenizer.chat_template", "tokenizer.no_templates!")
    engine = load(file)
    assert any("no chat template" in note for note in engine.notes)
    with pytest.raises(TemplateError, match="no chat template"):
        engine.chat(USER, Sampling())
    engine.close()


def test_a_template_that_is_no_jinja(file: Path) -> None:
    rename(file, "{%- for message in messages", "{%- fro message in messages")
    with pytest.raises(TemplateError, match="no Jinja"):
        load(file)


def test_a_vocabulary_alone(llama_cpp_source: Path) -> None:
    with pytest.raises(BundleError, match=r"llama\.cpp cannot load"):
        load(llama_cpp_source / "models" / "ggml-vocab-llama-spm.gguf")


def test_an_encoder(llama_cpp_source: Path) -> None:
    with pytest.raises(LoragraftError):
        load(llama_cpp_source / "models" / "ggml-vocab-bert-bge.gguf")


def test_too_little_memory(file: Path, full_memory: None) -> None:
    with pytest.raises(OutOfMemoryError, match="--context"):
        load(file)


def test_a_context_of_nothing(file: Path) -> None:
    with pytest.raises(InputError, match="context"):
        LlamaEngine(LocalModel(file, "model"), context=0)


def test_a_sound_file_is_checked_once_and_a_changed_one_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORAGRAFT_CACHE", str(tmp_path / "cache"))
    check_loads(file, 512)
    calls: list[object] = []
    monkeypatch.setattr(llama_check, "run_child", lambda *a, **k: calls.append(a))
    check_loads(file, 512)
    assert not calls
    file.write_bytes(file.read_bytes() + b"\0" * 32)
    check_loads(file, 512)
    assert len(calls) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("LORAGRAFT_CACHE", str(tmp_path / "cache"))
    check_loads(file, 512)


def test_a_load_that_hangs_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_check, "child_command", lambda *a: ["sleep", "60"])
    with pytest.raises(BundleError, match=r"0\.2 seconds"):
        check_loads(file, 511, timeout=0.2)


@pytest.mark.parametrize("threads", [-1, 513, 100_000])
def test_threads_that_llama_cpp_does_not_survive(file: Path, threads: int) -> None:
    with pytest.raises(InputError, match="512"):
        LlamaEngine(LocalModel(file, "model"), threads=threads)


def test_a_closed_engine_says_so_and_one_that_computes_is_closed_afterwards(file: Path) -> None:
    engine = load(file)
    closing = Thread(target=engine.close)
    with pytest.raises(UnavailableError, match="was closed"):
        engine.chat(USER, Sampling(temperature=0), on_text=lambda *_: _closed_by(closing))
    engine.close()
    for use in (
        lambda: engine.chat(USER, Sampling()),
        lambda: engine.prompt_ids(USER),
        lambda: engine.next_log_probs([1]),
        lambda: engine.piece(1),
        lambda: engine.literals,
    ):
        with pytest.raises(UnavailableError, match="was closed"):
            use()


def _closed_by(thread: Thread) -> None:
    if thread.ident is None:
        thread.start()
    thread.join()
