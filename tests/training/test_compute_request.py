"""Requests for larger machines: what they say, and that none stands twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.training.compute_request import Request, append_request, draft_request
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.effort import GPUS, gpu_hours, processor_speed, run_effort
from loragraft.training.machine import Machine
from loragraft.training.plan import plan_memory

ROOT = Path(__file__).resolve().parents[2]
HERE = Machine("this processor", "cpu", False, 8 << 30)


def draft(
    config: TrainConfig, lengths: list[int] | None = None, machine: Machine = HERE
) -> Request:
    plan = plan_memory(config, config.base, machine=machine)
    return draft_request(config, plan, run_effort(config, plan.sizes, plan.batch, lengths))


def replies(**changes: object) -> TrainConfig:
    config = load_config(ROOT / "configs" / "training" / "replies.yaml")
    return config.model_copy(update=changes)


def test_a_request_says_what_and_why_and_how_long() -> None:
    found = draft(replies(), [300] * 4000)
    assert found.gpu == "T4"
    assert "7.62 billion parameters" in found.text
    assert "Why: Replies in the tone" in found.text
    assert "it does not fit" in found.text
    assert "500 steps" in found.text
    assert found.hours is not None
    assert f"GPU hours: {found.hours:.1f}" in found.text


def test_hours_are_operations_by_speed() -> None:
    config = replies()
    plan = plan_memory(config, config.base, machine=HERE)
    effort = run_effort(config, plan.sizes, plan.batch, [300] * 1000)
    assert effort.tokens == 300 * 1000 * 2
    products = 6 * plan.sizes.linear_parameters * effort.tokens  # checkpointing: three passes
    assert effort.operations == pytest.approx(products, rel=0.4)
    assert effort.operations > products
    slow, fast = (next(g for g in GPUS if g.machine.name == name) for name in ("T4", "H100 80 GB"))
    assert gpu_hours(effort, slow) / gpu_hours(effort, fast) == pytest.approx(989 / 65)


def test_a_run_of_few_steps_is_short() -> None:
    config = replies()
    plan = plan_memory(config, config.base, machine=HERE)
    optimiser = config.optimiser.model_copy(update={"max_steps": 10})
    short = config.model_copy(update={"optimiser": optimiser})
    effort = run_effort(short, plan.sizes, plan.batch, [300] * 1000)
    assert effort.steps == 10
    assert effort.tokens == 300 * 160


def test_a_whole_seven_billion_model_asks_for_a_larger_gpu() -> None:
    assert draft(replies(quantization="none")).gpu not in (None, "T4", "P100")


def test_what_no_gpu_takes_is_said() -> None:
    config = replies(base="Qwen/Qwen2.5-72B-Instruct", quantization="none")
    lora = config.lora.model_copy(update={"r": 4096})
    found = draft(config.model_copy(update={"lora": lora}))
    assert found.gpu is None
    assert "several are needed" in found.text


def test_the_same_request_is_never_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "compute_requests.md"
    first, other = draft(replies()), draft(replies(experiment_id="other"))
    assert append_request(first, path)
    assert append_request(other, path)
    before = path.read_bytes()
    assert not append_request(first, path)
    assert not append_request(draft(replies()), path)
    busier = Machine("this processor", "cpu", False, 7 << 30)
    assert not append_request(draft(replies(), machine=busier), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    changed = draft(replies(description="Another reason."))
    assert append_request(changed, path)
    assert path.read_text(encoding="utf-8").count("## lora_replies_7b") == 2


def test_a_description_of_several_lines_stays_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "requests.md"
    append_request(
        draft(replies(description="a\x1b[31m\n\n## b\n<!-- loragraft request c -->")), path
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## lora_replies_7b"]
    assert sum(line.startswith("<!--") for line in lines) == 1
    assert "\x1b" not in "".join(lines)


def test_what_people_wrote_into_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "requests.md"
    path.write_text("# Ours\n\nAn entry by hand.\n", encoding="utf-8")
    append_request(draft(replies()), path)
    assert path.read_text(encoding="utf-8").startswith("# Ours\n\nAn entry by hand.\n\n<!-- ")


@pytest.mark.parametrize("kind", ["bytes", "folder", "below a file"])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "requests.md"
    if kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("a file")
        path = path / "requests.md"
    with pytest.raises(InputError, match="--request-file"):
        append_request(draft(replies()), path)


def test_this_processor_multiplies() -> None:
    assert processor_speed() > 0
