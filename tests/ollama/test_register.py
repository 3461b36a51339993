"""Registration with proof: healthy bundles pass, every fault is named, nothing half-made stays."""

from __future__ import annotations

import json
from collections.abc import Callable

from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama_server import OllamaServer
from loragraft.ollama.record import Record
from loragraft.ollama.register import register
from tests.support.ollama_server import OllamaStandIn

Connect = Callable[[OllamaStandIn], OllamaServer]


def test_a_healthy_bundle_is_registered_proven_and_noted(
    stand_in: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    done = register(model, connect(stand_in), record=record)
    assert stand_in.names() == ["smollm2-lora:latest"]
    assert (done.changed, done.uploaded) == (True, True)
    verdicts = {check.name: check.verdict for check in done.proof.checks}
    print(json.dumps(done.proof.to_json(), indent=1))
    assert set(verdicts.values()) == {"pass"}
