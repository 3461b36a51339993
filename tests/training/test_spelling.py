"""A configuration that is written reads back as the very same."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from loragraft.plain_yaml import read_yaml
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.spelling import spell_config, spell_yaml

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "training").glob("*.yaml"))
HOSTILE = ("1e-4", "0o17", "0x1f", ".5", "-.inf", "no", "null", "~", "2020-01-01", "yes: #", "- a",
           "a\nb", " x ", "\x1b[2J", "'", '"', "é\u202e", "!!str", "&a", "*a", "{", "", "<<", "1_0",
           "12:30:45", "+1", "\x85", "\u2028x", "\ufeffx", "\U0001f600")  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_our_configurations_read_back_as_the_same(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    data = config.data.model_copy(
        update={"splits": config.data.splits.resolve(),
                "corpus": config.data.corpus and config.data.corpus.resolve()}
    )  # fmt: skip
    whole = config.model_copy(update={"data": data})
    written = tmp_path / "config.yaml"
    written.write_text(spell_config(whole, "two lines\nof comment"), encoding="utf-8")
    assert load_config(written) == whole


@pytest.mark.parametrize("text", HOSTILE)
def test_any_description_stays_what_it_is(text: str, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(
        {"experiment_id": "x", "description": text, "base": "a/b",
         "data": {"train": [str(tmp_path / "t.jsonl")], "splits": str(tmp_path)}}
    )  # fmt: skip
    written = tmp_path / "config.yaml"
    written.write_text(spell_config(config), encoding="utf-8", newline="")
    assert load_config(written) == config


@hypothesis.given(
    st.dictionaries(
        st.text("ab1.-", min_size=1),
        st.none() | st.booleans() | st.integers(-(10**20), 10**20)
        | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        max_size=4,
    )
)  # fmt: skip
def test_plain_values_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:  # type: ignore[type-arg]
    written = tmp_path_factory.getbasetemp() / "values.yaml"
    written.write_text(spell_yaml(values), encoding="utf-8", newline="")
    assert read_yaml(written).values == values or not values
