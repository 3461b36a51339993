"""A training run's configuration written as YAML, which reads back as the very same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

    from loragraft.training.config import TrainConfig

_NUMBER_LIKE = re.compile(r"[-+.0-9]")
"""What a text begins with that YAML 1.2 could read as a number where PyYAML does not (``1e-4``)."""


def spell_config(config: TrainConfig, note: str = "") -> str:
    """Return a configuration as YAML, every value named.

    Args:
        config: The run's. Its paths that are relative will be so to where the text is written.
        note: Written above it as a comment.
    """
    comment = "".join(f"# {line}\n" for line in note.splitlines())
    return comment + spell_yaml(json.loads(config.model_dump_json()))


def spell_yaml(values: Mapping[str, Any]) -> str:
    """Return plain values as YAML that :func:`loragraft.plain_yaml.read_yaml` reads as the same."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """PyYAML's, which leaves texts bare that only YAML 1.2 takes for numbers."""

    Dumper.add_representer(str, _text)
    return str(yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100))


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = text.isprintable() and not _NUMBER_LIKE.match(text)
    style = None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
