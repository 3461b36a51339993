"""A name that no folder can have is refused in the configuration's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.errors import InputError
from tests.support.series import embedding_values, loaded, write_config


@pytest.mark.parametrize("name", ["..", "a/b", "<b>x", "CON", "", "-x", "a\x07"])
def test_a_name_for_no_folder_is_refused_without_talk_of_options(tmp_path: Path, name: str) -> None:
    values = embedding_values(tmp_path, series=name)
    with pytest.raises(InputError, match="expected one plain name such as science-lora") as refused:
        loaded(write_config(tmp_path, values))
    assert "--" not in str(refused.value)
