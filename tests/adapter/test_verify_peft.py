"""Adapters as PEFT itself saves them, of several families and kinds, are verified in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.findings import Severity
from loragraft.adapter.verify import VerifyRequest, verify_adapter

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "tied": ("qwen2", {}),
    "fused": ("phi3", {}),
    "gemma": ("gemma3", {}),
    "sharded": ("llama-sharded", {}),
    "rsLoRA": ("llama", {"use_rslora": True}),
    "DoRA": ("llama", {"use_dora": True}),
    "ranks": ("llama", {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"v_proj": 8}}),
    "some layers": ("llama", {"layers_to_transform": [0, 2]}),
    "all linear": ("llama", {"target_modules": "all-linear"}),
    "head": ("llama", {"modules_to_save": ["lm_head"]}),
    "embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
    "token rows": ("llama", {"trainable_token_indices": [3, 5]}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_peft_saves_is_healthy(
    name: str, pico: Callable[[str], Path], pico_adapter: Callable[..., Path]
) -> None:
    base, options = CASES[name]
    report = verify_adapter(VerifyRequest(pico_adapter(base, **options), pico(base), strict=True))
    assert [str(f) for f in report.findings if f.severity is not Severity.PASS] == []


@pytest.mark.parametrize(("adapter", "base"), [("llama", "llama-narrow"), ("llama", "phi3")])
def test_another_base_is_told(
    adapter: str, base: str, pico: Callable[[str], Path], pico_adapter: Callable[..., Path]
) -> None:
    report = verify_adapter(VerifyRequest(pico_adapter(adapter), pico(base)))
    assert report.verdict is Severity.FAIL
    assert {"coverage", "shapes"} & {f.code for f in report.findings if f.severity == "fail"}
