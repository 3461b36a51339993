"""Numbers in the form that competitions take."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.predictions import (
    Predictions,
    choose_experiment,
    predictions_of,
    write_csv,
)
from loragraft.experiment.run import RunRequest, run_series
from loragraft.experiment.store import read_samples
from tests.support.series import embedding_series, loaded, qa_series

COUNT = 10


@pytest.fixture
def config(tmp_path: Path, static_folder: Path) -> SeriesConfig:
    """A series whose first experiment is complete."""
    config = loaded(embedding_series(tmp_path, static_folder, COUNT))
    run_series(config, RunRequest(only=["first"], score=False))
    return config


def test_each_question_has_its_number_exactly(config: SeriesConfig, tmp_path: Path) -> None:
    found = predictions_of(config, "first")
    write_csv(tmp_path / "new" / "predictions.csv", found)
    with (tmp_path / "new" / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "score"]
    samples = read_samples(config.outputs / config.series / "first")
    assert {name: float(value) for name, value in rows[1:]} == {
        key[0]: sample.parsed for key, sample in samples.items()
    }
    assert found.missing == ()


def test_questions_without_a_number_are_told_and_filled_on_request(config: SeriesConfig) -> None:
    path = config.outputs / config.series / "first" / "samples.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[2:]) + "\n")
    found = predictions_of(config, "first")
    assert found.missing == ("pair-000", "pair-001")
    assert len(found.scores) == COUNT - 2
    filled = predictions_of(config, "first", fill=0.5)
    assert [filled.scores["pair-000"], len(filled.scores)] == [0.5, COUNT]


def test_the_experiment_is_named_or_the_only_one(config: SeriesConfig, tmp_path: Path) -> None:
    assert choose_experiment(config, "base") == "first"
    with pytest.raises(InputError, match="first, second do: name one with --only"):
        choose_experiment(config, None)
    with pytest.raises(InputError, match=r"second has no samples yet\. Run it"):
        predictions_of(config, "second")
    (tmp_path / "qa").mkdir()
    texts = loaded(qa_series(tmp_path / "qa", "http://127.0.0.1:9", 2))
    with pytest.raises(InputError, match="kind qa, which are no numbers"):
        predictions_of(texts, "steady")


def test_ids_with_commas_and_quotes_stay_one_field(tmp_path: Path) -> None:
    names = ("a,b", 'say "x"', "ünï")
    write_csv(tmp_path / "p.csv", Predictions(dict.fromkeys(names, 0.25), ()))
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == list(names)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_csv(tmp_path / "file" / "p.csv", Predictions({}, ()))
