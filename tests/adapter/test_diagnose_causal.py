"""Causal language models: what a diagnosis says of sound, empty and misnamed adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.adapter.diagnose.report import Diagnosis
from loragraft.adapter.diagnose.run import diagnose
from loragraft.adapter.diagnose.text import render_text
from loragraft.adapter.peft_loading import quiet
from tests.adapter.builders import edit_adapter

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Build = Callable[..., Path]


def verdict(diagnosis: Diagnosis) -> tuple[str, str]:
    return diagnosis.top.name, diagnosis.top.confidence


def differences(diagnosis: Diagnosis) -> list[str]:
    return [value for _, value in diagnosis.sections[0].measurements]


def test_a_sound_adapter_is_called_sound(pico: Build, pico_adapter: Build) -> None:
    found = diagnose(pico("llama"), pico_adapter("llama"))
    assert verdict(found) == ("sound", "proven")
    assert found.healthy
    assert all(text.startswith("effective") for text in differences(found))
    assert "generate() writes what forward passes by hand do on 3 of 3" in render_text(found)
    namespace: dict[str, Any] = {}
    with quiet():
        exec(compile(found.fix, "fix", "exec"), namespace)
    assert type(namespace["model"]).__name__.startswith("PeftModel")


def test_b_of_zeros_has_no_effect(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"), tmp_path / "a", lambda key, v: (key, v * ("lora_B" not in key))
    )
    found = diagnose(pico("llama"), adapter)
    assert verdict(found) == ("weights-without-effect", "proven")
    assert not found.healthy
    assert all("bit-identical" in text for text in differences(found))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("base_model.model.model.", "base_model.model.model.model."),
        ("base_model.model.model.", "base_model.model."),
        ("base_model.model.model.", "model."),
    ],
)
def test_a_wrong_prefix_is_named_and_mended(
    old: str, new: str, pico: Build, pico_adapter: Build, tmp_path: Path
) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"), tmp_path / "a", lambda key, v: (key.replace(old, new), v)
    )
    found = diagnose(pico("llama"), adapter)
    assert verdict(found) == ("keys-of-another-level", "proven")
    assert differences(found)[-1].startswith("effective")
    namespace: dict[str, Any] = {}
    with quiet():
        exec(compile(found.fix, "fix", "exec"), namespace)
    assert Path(namespace["adapter"]).name == "a-renamed"
    assert type(namespace["model"]).__name__.startswith("PeftModel")


def test_another_width_is_named(pico: Build, pico_adapter: Build) -> None:
    found = diagnose(pico("llama"), pico_adapter("llama-narrow"))
    assert verdict(found) == ("another-base", "proven")
    assert len(render_text(found)) < 20_000


def test_nan_is_named(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"), tmp_path / "a", lambda key, v: (key, v * np.float32("nan"))
    )
    assert verdict(diagnose(pico("llama"), adapter)) == ("weights-not-finite", "proven")


@pytest.mark.slow
def test_the_example_adapter_is_effective_on_smollm2(
    smollm2_checkpoint: Path, example_adapter: Path
) -> None:
    found = diagnose(smollm2_checkpoint, example_adapter)
    assert verdict(found) == ("sound", "proven")
    assert all(text.startswith("effective") for text in differences(found))
