"""What is none of our families is refused with the reason and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.export.architectures import FAMILIES, find_family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_name_finds_its_family(family: Any) -> None:  # noqa: ANN401
    for name in family.hf_names:
        assert find_family({"architectures": [name]}) is family


def test_names_belong_to_one_family() -> None:
    names = [name for family in FAMILIES for name in family.hf_names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "mixture of experts"),
        ({"architectures": ["Qwen3MoeForCausalLM"]}, "mixture of experts"),
        ({"architectures": ["LlamaForCausalLM"], "num_local_experts": 8}, "8 experts"),
        ({"architectures": ["Qwen2_5_VLForConditionalGeneration"]}, "multimodal"),
        ({"architectures": ["Mistral3ForConditionalGeneration"]}, "multimodal"),
        ({"architectures": ["Phi4MMForCausalLM"]}, "multimodal"),
        ({"architectures": ["FalconForCausalLM"]}, "FalconForCausalLM is not one"),
        ({"architectures": []}, "names no architecture"),
        ({}, "names no architecture"),
    ],
)
def test_others_are_refused_with_the_way_out(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason) as caught:
        find_family(config)
    message = str(caught.value)
    assert "--converter PATH/convert_hf_to_gguf.py" in message
    assert "Gemma3ForCausalLM" in message


@pytest.mark.parametrize(
    ("method", "said"),
    [("gptq", "GPTQ"), ("awq", "AWQ"), ("bitsandbytes", "bitsandbytes"), ("fp8", "(?i)fp8")],
)
def test_a_quantized_base_is_refused(method: str, said: str) -> None:
    config = {"architectures": ["Qwen2ForCausalLM"]}
    assert find_family(config).name == "qwen2"
    with pytest.raises(CheckpointError, match=said):
        find_family({**config, "quantization_config": {"quant_method": method}})


def test_the_full_precision_base_is_named() -> None:
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "quantization_config": {"quant_method": "gptq", "bits": 4},
    }
    name = "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"
    with pytest.raises(CheckpointError, match=r"Give Qwen/Qwen2\.5-7B-Instruct instead"):
        find_family(config, name=name)
    with pytest.raises(CheckpointError, match=r"Give Qwen/Qwen2\.5-7B-Instruct instead"):
        find_family({**config, "_name_or_path": name})
