"""Adapters of classifiers, as PEFT itself saves them: their head is not the base's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from loragraft.adapter.findings import Severity
from loragraft.adapter.peft_loading import quiet
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from tests.support.encoders import build_encoder
from tests.support.shared import build_once

pytestmark = pytest.mark.usefixtures("one_torch_thread")
QUERIES = {"bert": "query", "deberta": "query_proj", "modernbert": "Wqkv", "mpnet": "attn.q"}


def train(base: Path, folder: Path, target: str) -> Path:
    """Let PEFT make a classifier's adapter, with factors that are not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    with quiet():
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, ignore_mismatched_sizes=True, output_loading_info=True
        )
        new = {name for name in ("pooler", "head") if name in str(loaded["missing_keys"])}
        options = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=[target],
                             modules_to_save=sorted(new) or None)  # fmt: skip
        wrapped = get_peft_model(model, options)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier(shared_folder: Path) -> Callable[..., tuple[Path, Path]]:
    """Build an encoder and a classifier's adapter for it; returns base and adapter."""

    def build(kind: str, head: str) -> tuple[Path, Path]:
        folder = shared_folder / "encoders" / f"{kind}-{head or 'bare'}"
        options = {"num_labels": 3} if head == "SequenceClassification" else {}
        base = build_once(folder, lambda part: build_encoder(kind, part, head, **options))
        place = folder.with_name(f"{folder.name}-adapter")
        return base, build_once(place, lambda part: train(base, part, QUERIES[kind]))

    return build


def fails(adapter: Path, base: Path) -> dict[str, str]:
    found = verify_adapter(VerifyRequest(adapter, base=base)).findings
    return {f.code: f.measured for f in found if f.severity is not Severity.PASS}


@pytest.mark.parametrize(
    ("kind", "head"),
    [("bert", "MaskedLM"), ("bert", ""), ("bert", "SequenceClassification"), ("deberta", ""),
     ("deberta", "MaskedLM"), ("modernbert", ""), ("modernbert", "MaskedLM"), ("mpnet", "")],
)  # fmt: skip
def test_a_healthy_classifier_has_no_findings(
    classifier: Callable[..., tuple[Path, Path]], kind: str, head: str
) -> None:
    base, adapter = classifier(kind, head)
    assert fails(adapter, base) == {}
    saved = json.loads((adapter / "adapter_config.json").read_text())["modules_to_save"]
    assert "score" in saved  # PEFT's own, which no BERT has
    found = verify_adapter(VerifyRequest(adapter, base=base)).findings
    (coverage,) = (f.measured for f in found if f.code == "coverage")
    assert "land" in coverage


def test_an_adapter_of_another_family_lands_nowhere(
    classifier: Callable[..., tuple[Path, Path]],
) -> None:
    base, _ = classifier("bert", "MaskedLM")
    _, adapter = classifier("deberta", "")
    assert {"coverage", "targets.missing"} & set(fails(adapter, base))


def test_a_classifier_without_its_head_fails(
    classifier: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    base, adapter = classifier("bert", "")
    broken = shutil.copytree(adapter, tmp_path / "broken")
    file = broken / "adapter_model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if "classifier" not in k}
    save_file(kept, file, metadata={"format": "pt"})
    assert "saved.missing" in fails(broken, base)


def test_a_language_model_may_not_lack_what_was_saved_whole(
    classifier: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    base, adapter = classifier("bert", "")
    changed = shutil.copytree(adapter, tmp_path / "changed")
    config = json.loads((changed / "adapter_config.json").read_text())
    config["task_type"] = "CAUSAL_LM"
    (changed / "adapter_config.json").write_text(json.dumps(config))
    assert {"coverage", "saved.missing"} <= set(fails(changed, base))
