"""What a name means: a path that is there, a path that is missing, a tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.chat.target import Opening, looks_like_path, open_all, open_target
from loragraft.checkpoint.bundle import open_model
from loragraft.errors import BundleError, InputError, UnavailableError


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")


def test_a_bundle_and_a_file(talking_bundle: Callable[[str], Path]) -> None:
    bundle = talking_bundle("qwen3")
    for target in (bundle, open_model(bundle).gguf):
        engine = open_target(str(target), Opening(context=300, threads=1))
        assert engine.context == 300
        engine.close()


def test_a_path_that_exists_goes_before_a_tag(
    talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(talking_bundle("qwen3").parent)
    open_target("qwen3", Opening(threads=1)).close()
    with pytest.raises(UnavailableError, match="No Ollama answers"):
        open_target("qwen3", Opening(ollama=True))


def test_a_tag_without_a_server_names_the_way_without_one() -> None:
    with pytest.raises(UnavailableError, match=r"no path here.*loragraft chat BUNDLE"):
        open_target("smollm2:latest", Opening())


@pytest.mark.parametrize("target", ["./x", "/no/where", "x.gguf", "~/none", "x/"])
def test_a_path_that_is_missing_is_no_tag(target: str) -> None:
    assert looks_like_path(target)
    with pytest.raises(BundleError, match="not there"):
        open_target(target, Opening())


@pytest.mark.parametrize("target", ["smollm2", "a/b", "host:1/a/b:c"])
def test_a_tag_is_no_path(target: str) -> None:
    assert not looks_like_path(target)


def test_a_quantization_is_not_chosen_on_a_server() -> None:
    with pytest.raises(InputError, match="--quant"):
        open_target("smollm2", Opening(quant="Q4_K_M"))


def test_the_first_is_closed_where_the_second_fails(
    talking_bundle: Callable[[str], Path],
) -> None:
    with pytest.raises(BundleError):
        open_all([str(talking_bundle("qwen3")), "./none"], Opening(threads=1))
