"""Answering many questions: ratios to the usual ways, in one run.

- Decode: short questions with long answers, and RAG: long passages with short ones, on SmolLM2 with
  the questions of examples/science. Three ways in turn, on as many threads: the batch engine;
  llama-cpp-python's ``create_chat_completion``, one question after the other; and a bare loop over
  llama.cpp's own batches, which knows token ids and nothing else: no text, no stop texts, no
  records. Medians of the rounds count. How many greedy answers agree is shown, and how many
  hold an accepted answer.
- Ollama: the engine beside the best that plain requests in parallel reach on the same server:
  --host's, or the tests' stand-in (see experiment_ollama.py).
- Again: a series that is finished is run again, as a whole process.

    python benchmarks/experiment.py --quick
    python benchmarks/experiment.py --json experiment.json
    python benchmarks/experiment.py --only rag --model model.gguf
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from experiment_again import measure_again  # noqa: E402
from experiment_answers import DECODE, RAG, measure_answers, smollm2_gguf  # noqa: E402
from experiment_ollama import TAG, measure_ollama, stand_in  # noqa: E402

PARTS = ("decode", "rag", "ollama", "again")
TARGETS = {"decode": {"one_at_a_time": 3.0}, "rag": {"one_at_a_time": 1.25, "bare": 0.95}}
"""Questions a second, as multiples of the other way's."""
OLLAMA_TARGET = 0.95
AGAIN_TARGET = 2.0
"""Seconds."""


def judge(figures: dict[str, Any]) -> list[str]:
    """Return which targets are missed."""
    missed = []
    for part, targets in TARGETS.items():
        for way, target in targets.items():
            ratio = figures[part]["ratios"][way] if part in figures else target
            if ratio < target:
                missed.append(f"{part}: {ratio:.2f} times {way} instead of {target}")
    ollama = figures.get("ollama")
    if ollama and ollama["ratio"] < OLLAMA_TARGET:
        missed.append(f"ollama: {ollama['ratio']:.2f} of the server's best")
    again = figures.get("again")
    if again and again["seconds"] >= AGAIN_TARGET:
        missed.append(f"a finished run again took {again['seconds']:.2f} s")
    if again and again["heavy"]:
        missed.append(f"a finished run again imported {', '.join(again['heavy'])}")
    return missed


def show(figures: dict[str, Any]) -> None:
    """Print figures as Markdown."""
    for part in ("decode", "rag"):
        if part in figures:
            _show_answers(part, figures[part])
    if "ollama" in figures:
        f = figures["ollama"]
        print(f"\nollama, {f['concurrency']} at a time: {f['ours_per_second']:.2f} questions a "
              f"second, {f['ratio']:.3f} of bare requests ({f['server']})")  # fmt: skip
    if "again" in figures:
        again = figures["again"]
        print(f"\nfinished run again: {again['seconds']:.2f} s (first: {again['first']:.1f} s)")


def _show_answers(part: str, f: dict[str, Any]) -> None:
    print(f"\n{part}: {f['questions']} questions, {f['prompt_tokens']:.0f} tokens each, answers of "
          f"{f['answer_tokens']:.0f}, {f['threads']} threads, width {f['width']}, "
          f"{f['rounds']} rounds\n")  # fmt: skip
    print("| way | questions a second | ours over it | runs |\n| --- | --- | --- | --- |")
    for way, speed in f["speeds"].items():
        ratio = f["ratios"].get(way)
        runs = ", ".join(f"{one:.2f}" for one in f["runs"][way])
        print(f"| {way} | {speed:.2f} | {'-' if ratio is None else f'{ratio:.2f}'} | {runs} |")
    a = f["agreement"]
    print(
        f"\ngreedy answers the same as one at a time: {a['same']} of {a['of']}; the first "
        f"{a['same_words']:.0f} words are, in the median; an accepted answer is in "
        f"{a['ours_right']} of ours and {a['theirs_right']} of theirs"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    figures: dict[str, Any] = {}
    for part, shape in (("decode", DECODE), ("rag", RAG)):
        if part in options.only:
            count = options.questions or (8 if options.quick else 64)
            rounds = 1 if options.quick else options.rounds
            figures[part] = measure_answers(
                shape, options.model, count, rounds, options.width, options.threads
            )
    if "ollama" in options.only:
        figures["ollama"] = _ollama(options)
    if "again" in options.only:
        figures["again"] = measure_again(options.model or smollm2_gguf())
    return figures


def _ollama(options: argparse.Namespace) -> dict[str, Any]:
    count, rounds = (8, 1) if options.quick else (24, options.rounds)
    if options.host:
        found = measure_ollama(options.host, options.tag, count=count, rounds=rounds)
        return found | {"server": f"{options.tag} of {options.host}"}
    with stand_in((options.model or smollm2_gguf()).parent) as url:
        return measure_ollama(url, TAG, count=count, rounds=rounds) | {"server": "a stand-in"}


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small, in a minute or two")
    parser.add_argument("--model", type=Path, help="a GGUF file in place of SmolLM2's")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--host", help="an Ollama server in place of the stand-in")
    parser.add_argument("--tag", help="its model")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options)
    figures["missed"] = judge(figures)
    show(figures)
    for line in figures["missed"]:
        print(f"missed: {line}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
