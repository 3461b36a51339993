"""At the start of a run: are prompts those of the other experiments? Told briefly, and in need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from loragraft.experiment.parity import compare_probe
from loragraft.experiment.run_info import RunInfo, write_run
from tests.support.series import loaded, qa_series


def engine(*, composes: bool = True, end: str = ":") -> Any:  # noqa: ANN401
    """Return what renders and counts; characters are its tokens."""

    def render(messages: Any) -> str:  # noqa: ANN401
        return str(messages[-1]["content"]) + end

    def prompt_ids(messages: Any) -> list[int]:  # noqa: ANN401
        text = render(messages)
        return [ord(character) for character in text if composes or character != "\u0301"]

    return SimpleNamespace(name="scripted", render=render, prompt_ids=prompt_ids)


def test_prompts_are_kept_and_compared(tmp_path: Path) -> None:
    config = loaded(qa_series(tmp_path, "http://127.0.0.1:9", 2))
    probe, notes = compare_probe(config, "steady", engine(), ["A question?"])
    assert notes == []
    folder = config.outputs / config.series / "steady"
    folder.mkdir(parents=True)
    write_run(
        folder,
        RunInfo(
            config.series, "steady", "qa", "", "key", {}, "", {}, {}, "", 2, 1, False, False, {},
            probe=probe,
        ),
    )  # fmt: skip
    assert compare_probe(config, "shaky", engine(), ["A question?"])[1] == []
    other = engine(composes=False)
    assert compare_probe(config, "shaky", other, ["A question?"])[1] == []
    (note,) = compare_probe(config, "shaky", other, ["A question?", "Cafe\u0301?"])[1]
    assert note.startswith("steady and shaky: the prompts of the probe 'composition' differ (")
    (loud,) = compare_probe(config, "shaky", engine(end="!"), ["A question?"])[1]
    assert "the probe 'one turn' differ ('Cusco?:' and 'Cusco?!'). The chat templates" in loud
