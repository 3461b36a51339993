"""The model card: whole, whatever stands in names and answers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from loragraft.training.card import model_card
from loragraft.training.config import TrainConfig
from loragraft.training.log import Alarm, Evaluation, Step, TrainingLog, make_sample

HOSTILE = 'a | b\n---\n# Title <script>alert(1)</script> `x` [y](http://z) \x1b[31m "q" \u202e'


def config(**more: Any) -> TrainConfig:  # noqa: ANN401
    return TrainConfig.model_validate(
        {"experiment_id": "run", "base": "org/base", "data": {"tag": "science"}, **more}
    )


def a_log(answer: str = "So.") -> TrainingLog:
    steps = tuple(Step(n, n / 10, 3.0 / n, 1e-4, 1.0, 9, 1.0) for n in range(1, 11))
    sample = make_sample("q", answer, answer, answer, (), ended=True)
    seen = Evaluation(10, 1.0, 0.75, 0.5, 0.25, {"roc_auc": 0.5}, (sample,))
    return TrainingLog("run", "finished", steps, (seen,), (Alarm("gap", 10, 1.0, 0.3, answer),))


METADATA = {
    "dataset_tag": "science", "split_seed": 7, 
    "dataset": {"train": {"examples": 1234}, "validation": {"examples": 45}},
    "training_runtime": {"seconds": 61.5, "threads": 2, "hardware": {"machine": "x86_64"},
                         "versions": {"torch": "2.13"}},
    "evaluation_summary": {"validation_loss_before": 3.25, "chosen_step": 10,
                           "metrics": {"roc_auc": 0.5},
                           "relative_change_of_weights": {"min": 0.01, "mean": 0.02,
                                                          "max": 0.03}},
    "verification": {"verdict": "pass"},
}  # fmt: skip


def rows(card: str) -> dict[str, str]:
    """Return the tables' rows of two cells."""
    cells = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in cells if len(row) == 2}


def test_the_card_says_what_was_done_and_found() -> None:
    card = model_card(config(), a_log(), METADATA)
    found = rows(card)
    assert found["data"] == "split science: 1,234 for training, 45 for validation"
    assert found["time"] == "62 s on x86\\_64, 2 threads"
    assert (found["validation loss before"], found["validation loss"]) == ("3.25", "0.75")
    assert (found["roc\\_auc"], found["adapter verify"]) == ("0.5", "pass")
    assert found["‖ΔW‖/‖W‖"] == "0.02 (0.01 to 0.03)"
    assert "![Curves](curves.png)" in card
    assert "loragraft export merge-and-quantize org/base FOLDER" in card


def test_the_front_matter_is_what_the_hub_reads() -> None:
    head = model_card(config(), a_log(), METADATA).split("---")[1]
    assert yaml.safe_load(head) == {
        "library_name": "peft", "base_model": "org/base", "base_model_relation": "adapter",
        "pipeline_tag": "text-generation", "tags": ["lora", "loragraft"],
    }  # fmt: skip


@pytest.mark.parametrize("base", ["/home/me/model", "./x", 'a"\nb: c', "C:\\x"])
def test_a_base_that_is_no_repository_is_not_named_to_the_hub(base: str) -> None:
    head = model_card(config(base=base), a_log(), METADATA).split("---")[1]
    assert "base_model" not in yaml.safe_load(head)


def test_hostile_texts_stay_texts() -> None:
    card = model_card(config(description=HOSTILE, base=HOSTILE), a_log(HOSTILE), METADATA)
    assert "\x1b" not in card
    assert "\u202e" not in card
    body = card.split("---\n", 2)[2]
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert "<script>" not in html
    assert html.count("<h1>") == 1
    assert "<a href" not in html
    assert html.count("<table>") == 3


@pytest.mark.parametrize("metadata", [{}, {"dataset": 5, "training_runtime": {"seconds": None},
                                           "evaluation_summary": {"metrics": [1]}}])  # fmt: skip
def test_a_card_needs_no_metadata_and_no_evaluation(metadata: dict[str, Any]) -> None:
    card = model_card(config(lora={"dora": True}), TrainingLog("run", "finished"), metadata)
    assert "no-validation" in card
    assert "DoRA" in card
    assert "None" not in card


@pytest.mark.parametrize("task", ["causal-lm", "sequence-classification", "embedding"])
def test_each_task_is_used_its_own_way(task: str) -> None:
    card = model_card(config(task=task), a_log(), METADATA)
    assert ("merge-and-quantize" in card) == (task == "causal-lm")
    assert ("merge-embedder" in card) == (task == "embedding")
    assert ("load_classifier" in card) == (task == "sequence-classification")
