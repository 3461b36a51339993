"""A bundle's Modelfile: which GGUF, how much context, where an answer stops."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CONTEXT = 8192
"""Ollama reserves the whole context at load: 8,192 tokens fit a laptop, the model's own maximum
(131,072 for Llama 3.x) rarely does. Users raise it in the Modelfile."""


def quote(text: str) -> str:
    """Quote a parameter's value so that it can neither end its line nor start an instruction.

    Raises:
        ValueError: If the text holds a line break, a control character or triple quotes, which
            a Modelfile parameter cannot carry.
    """
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text) or '"""' in text:
        raise ValueError(f"{text!r} cannot stand in a Modelfile parameter")
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def render_modelfile(file_name: str, stops: Sequence[str], context_length: int | None) -> str:
    """Return a Modelfile for a GGUF beside it.

    The chat template travels inside the GGUF; repeat_penalty and temperature are set because
    their defaults differ between Ollama's versions.
    """
    lines = [f"FROM ./{file_name}"]
    lines.append(f"PARAMETER num_ctx {min(context_length or MAX_CONTEXT, MAX_CONTEXT)}")
    lines.append("PARAMETER temperature 0.7")
    lines.append("PARAMETER repeat_penalty 1.0")
    for stop in stops:
        try:
            lines.append(f"PARAMETER stop {quote(stop)}")
        except ValueError:
            continue  # such a token ends generation by its id inside llama.cpp all the same
    return "\n".join(lines) + "\n"
