"""Tokenizers of every family, without the models."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.talking import TALKING, save_tokenizer


@cache
def family_tokenizer(name: str) -> Any:  # noqa: ANN401
    """Return a family's tokenizer with its real chat template, by a name of ``TALKING``."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save_tokenizer(Path(folder), TALKING[name])
