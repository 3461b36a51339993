"""docs/experiments.md names the keys, engines and configurations that there are, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from click.testing import CliRunner

from loragraft.cli.experiment import experiment
from loragraft.experiment.arms.score_parser import parse_staged
from loragraft.experiment.config import (
    DataConfig,
    Experiment,
    JudgeConfig,
    MetricsConfig,
    MonitorConfig,
    RetrievalConfig,
    SamplingConfig,
    ScorePrompt,
    SeriesConfig,
    load_series,
)
from loragraft.experiment.records import Status
from loragraft.experiment.verdict.config import FactorialConfig, FidelityConfig, PromotionConfig

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
SECTIONS: dict[str, Any] = {
    "data": DataConfig, "retrieval": RetrievalConfig, "sampling": SamplingConfig,
    "metrics": MetricsConfig, "judge": JudgeConfig, "monitor": MonitorConfig,
    "promotion": PromotionConfig, "factorial": FactorialConfig, "fidelity": FidelityConfig,
}  # fmt: skip


def codes(text: str) -> set[str]:
    """Return what stands between backticks, one word each."""
    return set(re.findall(r"`(\w+)`", text))


def keys_of(heading: str) -> set[str]:
    """Return the keys that a table's first column names, below its heading."""
    rows = GUIDE.split(heading)[1].split("\n\n")[0].splitlines()[1:]
    return {key for row in rows for key in codes(row.split(" | ")[0])}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_is_named(section: str) -> None:
    row = re.findall(rf"(?m)^\| `{section}` \| (.*) \|$", GUIDE)[0]
    assert set(SECTIONS[section].model_fields) <= codes(row)


def test_every_key_outside_of_sections_is_named() -> None:
    (row,) = re.findall(r"(?m)^\| \| (.*) \|$", GUIDE)
    assert set(SeriesConfig.model_fields) - set(SECTIONS) <= codes(row)


def test_the_keys_of_an_experiment_and_of_scoring_are_named() -> None:
    assert keys_of("| key | meaning |") == set(Experiment.model_fields)
    assert keys_of("| key of `scoring` | meaning |") == set(ScorePrompt.model_fields)
    assert keys_of("| status | meaning |") == set(get_args(Status))


def test_every_engine_is_named_with_its_keys() -> None:
    union = Experiment.model_fields["engine"].annotation
    found: dict[str, set[str]] = {}

    def collect(kind: Any) -> None:  # noqa: ANN401
        if get_origin(kind) is Annotated or get_args(kind):
            for part in get_args(kind):
                collect(part)
        elif hasattr(kind, "model_fields"):
            name = get_args(kind.model_fields["kind"].annotation)[0]
            found[name] = set(kind.model_fields) - {"kind"}

    collect(union)
    assert len(found) == 7
    for name, keys in found.items():
        (row,) = re.findall(rf"(?m)^\| `{name}` \| (.* \| .*) \|$", GUIDE)
        named = codes(row.rsplit(" | ", 1)[1])
        assert named == keys or (name, named) == ("anthropic", {"openai"})
    assert found["anthropic"] == found["openai"]


def test_every_series_that_is_shipped_is_named_with_its_experiments() -> None:
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        (row,) = re.findall(
            rf"(?m)^\| \[`configs/{path.name}`\]\(\.\./configs/{path.name}\) \| (.*) \|$", GUIDE
        )
        if path.name in ("science_0p5.yaml", "lora_science_v1_ollama.yaml"):
            assert codes(row) == set(load_series(path).experiments)


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?m)^loragraft experiment (\w+) ", GUIDE))
    shown = CliRunner().invoke(experiment, ["--help"]).stdout
    assert named == set(re.findall(r"(?m)^  (\w+)  ", shown.split("Commands:")[1]))


def test_the_numbers_that_it_shows_are_read() -> None:
    stages = GUIDE.split("looks for a number three times:")[1].split("Percentages")[0]
    shown = re.findall(r"`([^`\n]*\d[^`\n]*)`|\"([^\"\n]*(?:of|is|point)[^\"\n]*)\"", stages)
    texts = [one or other for one, other in shown]
    assert len(texts) > 8
    assert {round(found.value, 9) for text in texts if (found := parse_staged(text))} == {0.7}
    assert [text for text in texts if parse_staged(text) is None] == []


def test_the_series_of_the_example_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"(?s)```yaml\n(.*?)```", GUIDE)
    (tmp_path / "default.yaml").write_bytes((ROOT / "configs" / "default.yaml").read_bytes())
    (tmp_path / "mine.yaml").write_text(block)
    series = load_series(tmp_path / "mine.yaml")
    assert list(series.experiments) == ["plain", "tuned"]
