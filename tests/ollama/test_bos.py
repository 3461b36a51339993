"""A BOS that engines add and the chat template does not write: no fault, but said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import CheckFailedError
from loragraft.ollama.compose import compose
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.record import Record
from loragraft.ollama.register import register
from tests.support.ollama_server import OllamaStandIn

pytestmark = pytest.mark.usefixtures("unchecked")
Connect = Callable[[OllamaStandIn], OllamaServer]
SMALL = Overrides(parameters={"num_ctx": 512})
WORDS = (
    "the server puts one '<s>' before the prompt, apply_chat_template gives none; harmless if "
    'training tokenized rendered text, as TRL\'s "text" datasets do; otherwise set add_bos_token '
    "to false and take BOS out of tokenizer.json's post_processor in the adapter's tokenizer, and "
    "export again"
)


def test_one_bos_is_said_and_the_model_registered(
    stand_in: OllamaStandIn, connect: Connect, unwritten_bos: LocalModel, record: Record
) -> None:
    done = register(unwritten_bos, connect(stand_in), record=record, overrides=SMALL)
    checks = {check.name: check for check in done.proof.checks}
    assert done.proof.holds
    assert (checks["BOS"].verdict, checks["BOS"].measured) == ("warn", WORDS)
    assert {name for name, check in checks.items() if check.verdict != "pass"} == {"BOS"}
    assert max(checks["log-probabilities"].details["nats"]) < 0.05
    assert WORDS in done.notes
    assert stand_in.names() == ["zephyr:latest"]


def test_two_are_a_fault(
    newest: OllamaStandIn, connect: Connect, unwritten_bos: LocalModel, record: Record
) -> None:
    newest.faults["double_bos"] = True
    reason = r"tokens: (\d+) tokens instead of .*One too many: '<s>' stands twice"
    with pytest.raises(CheckFailedError, match=reason) as caught:
        register(unwritten_bos, connect(newest), record=record, overrides=SMALL)
    assert "apply_chat_template" not in str(caught.value)
    assert newest.names() == []


def test_a_server_that_adds_none_gives_what_the_template_does(
    newest: OllamaStandIn, connect: Connect, unwritten_bos: LocalModel, record: Record
) -> None:
    newest.faults["no_bos"] = True
    done = register(unwritten_bos, connect(newest), record=record, overrides=SMALL)
    assert {check.name: check.verdict for check in done.proof.checks}["tokens"] == "pass"
    assert "BOS" not in [check.name for check in done.proof.checks]


def test_a_bos_that_nothing_asks_for_is_a_fault(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    newest.faults["double_bos"] = True
    with pytest.raises(CheckFailedError, match="neither the file nor its template asks for"):
        register(model, connect(newest), record=record, overrides=SMALL)


def test_it_is_said_beforehand(
    unwritten_bos: LocalModel, with_bos: LocalModel, model: LocalModel
) -> None:
    assert WORDS in compose(unwritten_bos).notes
    assert WORDS not in (*compose(with_bos).notes, *compose(model).notes)
