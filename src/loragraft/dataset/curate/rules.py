"""A rules file: what is kept, how it becomes records, and the thresholds by name.

```yaml
protocol:                 # thresholds by name; "${min_likes}" stands for the value
  min_likes: 200
rules:
  - {kind: range, field: post.likes, min: "${min_likes}"}
record: {kind: reply, id: reply.id, task_type: {text: reply}, prompt: post.text, reply: reply.text}
```
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from loragraft.dataset.curate.record import RecordSpec
from loragraft.dataset.curate.specs import AnyRule
from loragraft.dataset.pairs import Pairing
from loragraft.settings import Settings, load_settings

_REFERENCE = re.compile(r"\$\{(?P<name>[^{}]*)\}")
_OWN_NAMES = frozenset({"missing field", "same id", "record", "review"})
"""What the report calls the reasons that are no rules."""

COLLECTING = frozenset({"search_queries", "target_pairs", "languages", "actor", "actor_input"})
"""Keys of a protocol that collection reads: no rule needs to."""
DEFAULT_SEED = 20251101


class Review(Settings):
    """The sample that a person looks at.

    Attributes:
        sample: How many records.
        seed: Which ones: they are chosen by a hash of seed and id.
    """

    sample: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0)] = DEFAULT_SEED


class Rules(Settings):
    """A rules file.

    Attributes:
        description: What it is for.
        protocol: Named values that rules refer to, and that collection reads.
        pairs: How rows are joined to pairs of a post and a reply first; None leaves rows alone.
        record: How a kept row becomes a task record; None where rows are records already.
        rules: In the order in which they judge; those that compare rows come after the others.
        target: How many records are wanted; the report says whether there are.
        review: The sample for a person.
    """

    description: str = ""
    protocol: dict[str, Any] = Field(default_factory=dict)
    pairs: Pairing | None = None
    record: RecordSpec | None = None
    rules: tuple[AnyRule, ...] = ()
    target: Annotated[int, Field(ge=1)] | None = None
    review: Review = Review()

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Put the protocol's values where they are referred to."""
        protocol = values.get("protocol") if isinstance(values, Mapping) else None
        if protocol is not None and not isinstance(protocol, Mapping):
            return values
        if not isinstance(values, Mapping):
            return values
        used: set[str] = set()
        rest = {
            key: value if key == "protocol" else _replace(value, protocol or {}, used)
            for key, value in values.items()
        }
        idle = sorted(set(map(str, protocol or {})) - used - COLLECTING)
        if idle:
            near = difflib.get_close_matches(idle[0], sorted(used | COLLECTING), n=1)
            hint = f"did you mean {near[0]}? Otherwise " if near else ""
            raise ValueError(
                f"protocol: {idle[0]} is used by no rule, so it would change nothing; {hint}refer "
                f'to it by "${{{idle[0]}}}" or take it out'
            )
        return rest

    @model_validator(mode="after")
    def _check_names(self) -> Rules:
        counts = Counter(rule.title for rule in self.rules)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(
                    f"rules: {count} rules are called {name!r}: give each a name of its own"
                )
            if name in _OWN_NAMES:
                raise ValueError(f"rules: no rule may be called {name!r}: the report uses that")
        return self


def _replace(value: Any, protocol: Mapping[str, Any], used: set[str]) -> Any:  # noqa: ANN401
    """Put values of the protocol into a tree of lists, mappings and texts."""
    if isinstance(value, Mapping):
        return {key: _replace(item, protocol, used) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, protocol, used) for item in value]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    name = match["name"]
    if name not in protocol:
        near = difflib.get_close_matches(name, map(str, protocol), n=1)
        hint = f"; did you mean ${{{near[0]}}}?" if near else ""
        raise ValueError(f"${{{name}}} is no key of protocol{hint}")
    used.add(name)
    return protocol[name]


def load_rules(path: Path) -> Rules:
    """Read a rules file.

    Raises:
        InputError: If it cannot be read, or says something that is no rule.
    """
    return load_settings(path, Rules)
