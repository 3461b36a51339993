"""Adapters that PEFT cannot take: one clear error each, whatever PEFT itself raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.adapter.locate import locate_adapter
from loragraft.adapter.peft_loading import attach, attach_strictly, load_causal, peft_folder, quiet
from loragraft.errors import AdapterError, CheckpointError, OutOfMemoryError, UnsupportedError
from tests.adapter.builders import lora_arrays

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"r": 0}, AdapterError, "does not fit the base"),
        ({"peft_type": "NONE"}, AdapterError, "does not fit|lacks"),
        ({"target_modules": ["nowhere"]}, AdapterError, "does not fit the base"),
        ({"target_modules": None}, AdapterError, "does not fit the base"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, UnsupportedError, "adds inputs"),
        ({"layers_to_transform": "x"}, AdapterError, "does not fit the base"),
    ],
)
def test_what_peft_refuses_is_our_error(
    config: dict[str, object], error: type[Exception], words: str, pico: Make, make_adapter: Make
) -> None:
    adapter = make_adapter(**config)
    with quiet(), pytest.raises(error, match=words):
        attach(load_causal(pico("llama"), "This"), adapter, adapter)


def test_left_over_keys_are_refused(pico: Make, pico_adapter: Make, make_adapter: Make) -> None:
    adapter = make_adapter(lora_arrays(layers=9), target_modules=["nothing"])
    with quiet():
        model = load_causal(pico("llama"), "This")
        attached = attach(model, pico_adapter("llama"), adapter)
        assert (attached.missing, attached.unexpected) == ((), ())
        with pytest.raises(AdapterError):
            attach_strictly(load_causal(pico("llama"), "This"), adapter, adapter)


def test_a_renamed_file_gets_pefts_name(make_adapter: Make) -> None:
    adapter = make_adapter()
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter.safetensors")
    with peft_folder(locate_adapter(adapter)) as folder:
        assert folder != adapter
        assert (folder / "adapter_model.safetensors").stat().st_size > 0
    assert not folder.exists()


def test_a_base_without_its_weights_is_refused(make_base: Make) -> None:
    base = make_base()
    with quiet(), pytest.raises(CheckpointError, match=r"lacks \d+ weights"):
        load_causal(base, "This")


def test_a_base_beyond_the_memory_is_refused(pico: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loragraft.artifact.space.available_memory", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match="This"):
        load_causal(pico("llama"), "This")
