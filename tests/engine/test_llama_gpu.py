"""Layers on the GPU: all where there is one, and what was used is said."""

from __future__ import annotations

import re

import llama_cpp
import pytest

from loragraft.engine import llama_gpu
from loragraft.engine.llama_gpu import ALL_LAYERS, choose_gpu_layers


@pytest.mark.parametrize(
    ("offloads", "wanted", "count", "words"),
    [
        (True, None, ALL_LAYERS, "GPU: all"),
        (True, 0, 0, "GPU: none"),
        (True, 7, 7, "GPU: 7"),
        (False, 7, 0, "processor computes all layers.*doctor"),
        (False, None, 0, "^$"),
        (False, 0, 0, "^$"),
    ],
)
def test_layers_go_where_a_gpu_is(
    offloads: bool, wanted: int | None, count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_gpu, "_offloads", lambda: offloads)
    chosen = choose_gpu_layers(wanted)
    assert chosen.count == count
    assert re.search(words, chosen.note)


def test_this_machine_is_asked() -> None:
    chosen = choose_gpu_layers(None)
    assert chosen.count == (ALL_LAYERS if llama_cpp.llama_supports_gpu_offload() else 0)
