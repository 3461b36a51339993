"""Every check of a stage against the training's side, in one list.

A cause is named only with what proves it. A new cause is one function and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loragraft.trace.cause import Cause, Subject
from loragraft.trace.conversation_checks import (
    check_bos,
    check_stops,
    check_template,
    check_tokenizer,
)
from loragraft.trace.model_checks import (
    check_adapter,
    check_base,
    check_rope,
    check_rows,
    check_settings,
)

Check = Callable[[Subject], Sequence[Cause]]

CHECKS: tuple[Check, ...] = (
    check_template, check_bos, check_tokenizer, check_stops, check_settings, check_rope,
    check_base, check_rows, check_adapter,
)  # fmt: skip


def find_causes(subject: Subject) -> tuple[Cause, ...]:
    """Run every check, in the order of the tables in the report: text first."""
    return tuple(cause for check in CHECKS for cause in check(subject))
