"""A small dynamic test: a few prompts through the base and through the base with its adapter.

One model is in memory; the adapter is switched off and on. All is greedy, in float32, on the CPU,
so that what differs differs by the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.findings import Finding, Severity, failed, worst
from loragraft.adapter.peft_loading import (
    attach,
    fit_vocabulary,
    load_causal,
    peft_folder,
    quiet,
    require_packages,
)
from loragraft.adapter.probe_checks import Answer, ProbeContext, Sample, run_probe_checks
from loragraft.adapter.probe_prompts import ProbePrompt, Task, default_prompts
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.adapter.scores import parse_score
from loragraft.adapter.speaking import Inputs, Speaker, greedy, prompt_logits
from loragraft.artifact.progress import Progress, Silent
from loragraft.errors import AdapterError, InputError, UnsupportedError

PURPOSE = "Probing an adapter"
NEW_TOKENS = {"generation": 32, "score": 24}
"""A loop of the usual length shows in 32 tokens; a score and a few words around it take 24."""


@dataclass(frozen=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        base: The base's folder.
        adapter: The adapter's path.
        task: What the answers are.
        samples: One a prompt; none if the adapter could not be loaded.
        findings: One a failure mode.
    """

    base: Path
    adapter: Path
    task: Task
    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Severity:
        """The worst of all findings."""
        return worst(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "base": str(self.base),
            "adapter": str(self.adapter),
            "task": self.task,
            "verdict": self.verdict.value,
            "findings": [finding.as_dict() for finding in self.findings],
            "samples": [_sample_json(sample) for sample in self.samples],
        }


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.prompt.id,
        "messages": [dict(message) for message in sample.prompt.messages],
        "expected": sample.prompt.expected,
        "reason": sample.prompt.reason,
        "base": _answer_json(sample.base),
        "tuned": _answer_json(sample.tuned),
        "effect": sample.effect,
        "noise": sample.noise,
        "finite": sample.finite,
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    score = answer.score
    return {
        "text": answer.text,
        "tokens": len(answer.tokens),
        "ended": answer.ended,
        **({} if score is None else {"score": score.value, "score_reason": score.reason}),
    }


def probe_adapter(
    base: Path,
    adapter: Path,
    *,
    prompts: Sequence[ProbePrompt] | None = None,
    task: Task = "generation",
    max_new_tokens: int | None = None,
    progress: Progress | None = None,
) -> ProbeReport:
    """Run prompts through a base with and without an adapter, and judge the answers.

    Args:
        base: Folder of a causal language model.
        adapter: The adapter's path.
        prompts: The user's own; the packaged ones of the task where None.
        task: Whether the answers are texts, or scores from 0 to 1.
        max_new_tokens: Longest answer; a length that suits the task where None.
        progress: Told of each stage.

    Returns:
        The findings and the answers. An adapter that cannot be loaded is one failed finding.

    Raises:
        MissingExtraError: If torch, transformers or peft is missing.
        CheckpointError: If the base or its tokenizer cannot be loaded.
        UnsupportedError: If the base is quantized.
        OutOfMemoryError: If the base does not fit.
        InputError: If there is no prompt, or no room for an answer.
    """
    require_packages(PURPOSE, "torch", "transformers", "peft")
    asked = tuple(default_prompts(task) if prompts is None else prompts)
    room = NEW_TOKENS[task] if max_new_tokens is None else max_new_tokens
    if not asked or room < 1:
        raise InputError("A probe needs at least one prompt and one token for its answer.")
    watcher = progress or Silent()
    try:
        with quiet(), open_adapter(adapter) as opened:
            return _probe(Path(base), opened, asked, task, room, watcher)
    finally:
        watcher.end()


def _probe(
    base: Path,
    adapter: Adapter,
    prompts: Sequence[ProbePrompt],
    task: Task,
    room: int,
    progress: Progress,
) -> ProbeReport:
    progress.begin(f"Loading {base.name}", 0)
    model = load_causal(base, PURPOSE)
    speaker = Speaker(base, adapter.folder)
    try:
        fit_vocabulary(model, adapter)
        with peft_folder(adapter.location) as folder:
            attached = attach(model, folder, adapter.path)
        inputs = [_fitting(speaker.encode(prompt), model, adapter) for prompt in prompts]
    except (AdapterError, UnsupportedError) as error:
        finding = failed(
            "probe.load", str(error), "an adapter that PEFT can put on this base",
            "Run loragraft adapter verify without --probe: it names what does not fit.",
        )  # fmt: skip
        return ProbeReport(base, adapter.path, task, (), (finding,))
    samples: list[Sample] = []
    for number, (prompt, tokens) in enumerate(zip(prompts, inputs, strict=True), start=1):
        progress.begin(f"Prompt {number} of {len(prompts)}", 0)
        samples.append(_ask(attached.model, speaker, prompt, tokens, task, room))
    context = ProbeContext(task, samples, attached.missing, attached.unexpected)
    findings = tuple(run_probe_checks(context))
    return ProbeReport(base, adapter.path, task, tuple(samples), findings)


def _fitting(inputs: Inputs, model: Any, adapter: Adapter) -> Inputs:  # noqa: ANN401
    """Return a prompt's tokens if the model has a row for each.

    Raises:
        AdapterError: If it has not.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    highest = int(inputs["input_ids"].max())
    if highest >= rows:
        raise AdapterError(
            f"{adapter.folder} brings a tokenizer with token {highest}, but the model has {rows} "
            "rows: the embeddings of its new tokens were not saved. Save it with "
            "modules_to_save=['embed_tokens', 'lm_head']."
        )
    return inputs


def _ask(
    model: Any,  # noqa: ANN401
    speaker: Speaker,
    prompt: ProbePrompt,
    inputs: Inputs,
    task: Task,
    room: int,
) -> Sample:
    tuned = prompt_logits(model, inputs)
    with model.disable_adapter():
        base = prompt_logits(model, inputs)
    again = prompt_logits(model, inputs)
    answers: list[Answer] = []
    for context in (model.disable_adapter(), nullcontext()):
        with context:
            tokens, ended = greedy(model, inputs, room)
        text = speaker.decode(tokens)
        score = parse_score(text) if task == "score" else None
        answers.append(Answer(text, tokens, ended, score))
    return Sample(
        prompt, answers[0], answers[1],
        effect=float((tuned - base).abs().max()), noise=float((tuned - again).abs().max()),
        finite=bool(tuned.isfinite().all()),
    )  # fmt: skip
