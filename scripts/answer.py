"""Let two GGUF files answer the same prompt and print the answers side by side.

    python scripts/answer.py BASE.gguf TUNED.gguf ["A prompt"]

Both decode greedily through llama.cpp, each with the chat template that stands in its own file.
llama.cpp's own messages are kept away from the terminal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

PROMPT = "What is a lighthouse?"
CONTEXT_TOKENS = 2048
GAP = " | "
NARROW = 60  # columns below which two columns are no longer readable


@contextmanager
def silenced() -> Iterator[None]:
    """Send what native code writes to standard error to nowhere for a while."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def answer(model: Path, prompt: str, tokens: int) -> str:
    """Return the greedy answer of a GGUF file to one user message."""
    from llama_cpp import Llama

    with silenced():
        llama = Llama(str(model), n_ctx=CONTEXT_TOKENS, seed=0, verbose=False)
        try:
            reply = llama.create_chat_completion(
                messages=[{"role": "user", "content": prompt}],
                max_tokens=tokens,
                temperature=0.0,
                repeat_penalty=1.0,
            )
        finally:
            llama.close()
    return str(reply["choices"][0]["message"]["content"]).strip()


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of a width, keeping its own line breaks."""
    return [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]


def side_by_side(left: str, right: str, titles: tuple[str, str], columns: int) -> str:
    """Lay two texts out in two columns, or one after the other where the terminal is narrow."""
    if columns < NARROW:
        return f"{titles[0]}\n{left}\n\n{titles[1]}\n{right}"
    width = (columns - len(GAP)) // 2
    rows = zip_longest(wrap(left, width), wrap(right, width), fillvalue="")
    lines = [f"{titles[0]:<{width}}{GAP}{titles[1]}", "-" * width + "-+-" + "-" * width]
    return "\n".join(lines + [f"{a:<{width}}{GAP}{b}".rstrip() for a, b in rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer with both models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base", type=Path, help="GGUF file of the base model")
    parser.add_argument("tuned", type=Path, help="GGUF file with the adapter merged in")
    parser.add_argument("prompt", nargs="?", default=PROMPT, help=f"default: {PROMPT!r}")
    parser.add_argument("--tokens", type=int, default=120, help="longest answer (default: 120)")
    options = parser.parse_args(arguments)
    for path in (options.base, options.tuned):
        if not path.is_file():
            print(f"error: {path} is no file. Expected a GGUF file.", file=sys.stderr)
            return 2
    try:
        answers = [answer(p, options.prompt, options.tokens) for p in (options.base, options.tuned)]
    except (ValueError, RuntimeError) as error:
        print(f"error: llama.cpp cannot load or run a file: {error}", file=sys.stderr)
        return 2
    columns = min(shutil.get_terminal_size((100, 24)).columns, 120)
    print(f"\nPrompt: {options.prompt}\n")
    titles = (f"base: {options.base.stem}", f"tuned: {options.tuned.stem}")
    print(side_by_side(answers[0], answers[1], titles, columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
