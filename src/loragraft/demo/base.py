"""The demo's base model: the user's own copy, or the one that the package index has."""

from __future__ import annotations

from pathlib import Path

from loragraft.errors import InputError


def find_base(given: Path | None) -> Path:
    """Return the folder of SmolLM2-135M-Instruct, made where nobody has it.

    Args:
        given: A folder that the user names.

    Raises:
        InputError: If the given folder holds no checkpoint.
        UnavailableError: If it cannot be downloaded or made.
    """
    if given is None:
        from loragraft.demo.smollm2 import build

        return build().resolve()
    if not (given / "config.json").is_file():
        raise InputError(
            f"{given} holds no config.json: it is no checkpoint. Leave --base out, and the model "
            "is made from the Python Package Index."
        )
    return given.resolve()
