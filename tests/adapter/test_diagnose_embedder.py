"""SentenceTransformers: the real all-MiniLM-L6-v2, loaded right and wrong, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.adapter.diagnose.report import Diagnosis
from loragraft.adapter.diagnose.run import diagnose
from loragraft.adapter.diagnose.text import render_text
from loragraft.adapter.embedder import PROBE_SENTENCES, embed, load_embedder
from loragraft.adapter.peft_loading import quiet
from loragraft.errors import InputError, UnsupportedError

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Edit = Callable[..., Path]


def rows(diagnosis: Diagnosis, section: str) -> dict[str, str]:
    found = next(s for s in diagnosis.sections if s.name == section)
    return {label.split(" (")[0]: value for label, value in found.measurements}


def run_fix(code: str) -> Any:  # noqa: ANN401
    """Execute a recommended fix and return the model it leaves."""
    namespace: dict[str, Any] = {}
    with quiet():
        exec(compile(code, "fix", "exec"), namespace)
    return namespace["model"]


def lowest_cosine(base: Path, model: Any) -> float:  # noqa: ANN401
    with quiet():
        before = embed(load_embedder(base), PROBE_SENTENCES)
        after = embed(model, PROBE_SENTENCES)
    return float((before * after).sum(1).min())


@pytest.fixture(scope="module")
def healthy(minilm_folder: Path, minilm_adapter: Path) -> Diagnosis:
    return diagnose(minilm_folder, minilm_adapter)


def test_the_wrapper_on_the_sentence_transformer_is_named(healthy: Diagnosis) -> None:
    differences = rows(healthy, "difference")
    assert "bit-identical" in differences["wrapper"]
    for way in ("inner", "load_adapter", "merged"):
        assert differences[way].startswith("effective")
    assert healthy.top.name == "wrapped-at-the-wrong-level"
    assert healthy.top.confidence == "proven"
    assert not healthy.top.evidence_against
    assert [h.name for h in healthy.hypotheses if h.confidence == "proven"] == [
        "wrapped-at-the-wrong-level", "sound",
    ]  # fmt: skip


def test_where_the_adapter_sits_is_shown(healthy: Diagnosis) -> None:
    structure = rows(healthy, "structure")
    assert structure["named as in the encoder"] == "12 of 12 modules"
    assert structure["named as in the SentenceTransformer"] == "0 of 12 modules"
    places = [v for s in healthy.sections for k, v in s.measurements if "adapter sits" in k]
    assert "PeftModel > base_model: LoraModel > model: SentenceTransformer" in places[0]
    assert "> 0: Transformer >" in places[1]


def test_the_forward_pass_by_hand_agrees(healthy: Diagnosis) -> None:
    for text in rows(healthy, "forward").values():
        assert float(text.rpartition(" ")[2]) < 1e-5


def test_the_fix_changes_the_embeddings(healthy: Diagnosis, minilm_folder: Path) -> None:
    model = run_fix(healthy.fix)
    cosine = lowest_cosine(minilm_folder, model)
    assert 0.5 < cosine < 0.99
    assert "mean cosine was 0.9" in healthy.expectation


def test_the_report_reads_as_text_and_as_json(healthy: Diagnosis) -> None:
    text = render_text(healthy)
    assert text.startswith("Diagnosis: wrapped-at-the-wrong-level (proven)")
    for number in range(1, 6):
        assert f"\n{number}. " in text
    assert "for: " in text
    assert "against: " in text
    assert "no probabilities" in text.lower()
    value = json.loads(json.dumps(healthy.to_json(), allow_nan=False))
    assert value["diagnosis"] == healthy.top.name
    assert len(value["sections"]) == 5


@pytest.mark.parametrize("prefix", ["0.auto_model.", "0.model.", "bert."])
def test_keys_of_another_level_are_named_and_mended(
    prefix: str, minilm_folder: Path, edited: Edit
) -> None:
    adapter = edited(lambda k, v: (k.replace("base_model.model.", f"base_model.model.{prefix}"), v))
    found = diagnose(minilm_folder, adapter)
    assert (found.top.name, found.top.confidence) == ("keys-of-another-level", "proven")
    assert repr(f"base_model.model.{prefix}") in found.top.statement
    assert rows(found, "difference")["renamed"].startswith("effective")
    assert 0.5 < lowest_cosine(minilm_folder, run_fix(found.fix)) < 0.99


def test_random_layers_are_not_taken_for_the_adapter(minilm_folder: Path, edited: Edit) -> None:
    adapter = edited(lambda key, v: (key, v))
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "init_lora_weights": False}))
    found = diagnose(minilm_folder, adapter)
    assert found.top.name == "wrapped-at-the-wrong-level"
    assert any("filled at random" in text for text in found.top.evidence_for)


def test_keys_without_pefts_prefix_are_named(minilm_folder: Path, edited: Edit) -> None:
    adapter = edited(lambda key, v: (key.removeprefix("base_model.model."), v))
    found = diagnose(minilm_folder, adapter)
    assert (found.top.name, found.top.confidence) == ("keys-of-another-level", "proven")


def test_b_of_zeros_is_named(minilm_folder: Path, edited: Edit) -> None:
    adapter = edited(lambda key, v: (key, v * ("lora_B" not in key)))
    found = diagnose(minilm_folder, adapter)
    assert (found.top.name, found.top.confidence) == ("weights-without-effect", "proven")
    others = {h.name: h.confidence for h in found.hypotheses}
    assert others["wrapped-at-the-wrong-level"] == "ruled out"
    assert others["sound"] == "ruled out"
    exec(compile(found.fix, "fix", "exec"), {})


def test_a_faint_adapter_is_told_from_one_that_is_not_loaded(
    minilm_folder: Path, edited: Edit
) -> None:
    adapter = edited(lambda key, v: (key, v * np.float32(0.01 if "lora_B" in key else 1)))
    found = diagnose(minilm_folder, adapter)
    others = {h.name: h.confidence for h in found.hypotheses}
    assert others["too-weak"] == "proven"
    assert others["weights-without-effect"] == "ruled out"


def test_nan_is_named(minilm_folder: Path, edited: Edit) -> None:
    found = diagnose(minilm_folder, edited(lambda key, v: (key, v * np.float32("nan"))))
    assert (found.top.name, found.top.confidence) == ("weights-not-finite", "proven")


def test_another_width_is_named(minilm_folder: Path, edited: Edit) -> None:
    adapter = edited(lambda k, v: (k, v[:, :100] if "lora_A" in k else v[:100]))
    found = diagnose(minilm_folder, adapter)
    assert (found.top.name, found.top.confidence) == ("another-base", "proven")
    assert "size mismatch" in rows(found, "difference")["inner"]
    exec(compile(found.fix, "fix", "exec"), {})


def test_labelled_pairs_say_identical_to_the_baseline(
    minilm_folder: Path, minilm_adapter: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [
        ("A cat sleeps.", "A kitten is napping.", 1), ("He plays the guitar.", "Taxes rise.", 0),
        ("How old are you?", "What is your age?", 1), ("The sea is cold.", "Buy two shirts.", 0),
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps({"a": a, "b": b, "label": n}) for a, b, n in pairs))
    found = diagnose(minilm_folder, minilm_adapter, pairs=path)
    assert found.pairs is not None
    models = found.pairs.models
    assert models["wrapper"].identical
    assert not models["inner"].identical
    assert models["base"].roc_auc == 1.0
    lines = [line for line in render_text(found).split("\n") if "identical to the baseline" in line]
    assert len(lines) == 1
    assert lines[0].strip().startswith("wrapper: Spearman")


def test_a_bare_encoder_is_refused_with_a_way_out(
    minilm_adapter: Path, make_base: Callable[..., Path]
) -> None:
    base = make_base(architectures=["BertModel"])
    with pytest.raises(UnsupportedError, match="save_pretrained"):
        diagnose(base, minilm_adapter)


def test_pairs_of_a_language_model_are_refused(
    minilm_adapter: Path, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="language model"):
        diagnose(make_base(), minilm_adapter, pairs=tmp_path / "p.csv")


def test_a_file_of_another_name_is_read_and_the_fix_names_it_right(
    minilm_folder: Path, edited: Edit
) -> None:
    adapter = edited(lambda key, v: (key, v))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter.safetensors")
    found = diagnose(minilm_folder, adapter)
    assert found.top.name == "wrapped-at-the-wrong-level"
    assert 0.5 < lowest_cosine(minilm_folder, run_fix(found.fix)) < 0.99
