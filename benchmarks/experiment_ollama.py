"""Questions a second of an Ollama server: our engine beside the server's own best.

The bare side is what the server gives a client that only sends: threads with connections kept
open, the same conversations and options, each answer in one piece, nothing read of it but its end.
Ours streams, counts tokens and checks that no prompt was cut. Rounds alternate; medians count.

Without a server (``--host``, ``--tag``) it is the tests' stand-in, a process of its own that speaks
Ollama's API and answers by llama.cpp, one question at a time: what is measured then is what our
side adds.

    python benchmarks/experiment_ollama.py --bundle BUNDLE
    python benchmarks/experiment_ollama.py --host http://127.0.0.1:11434 --tag qwen2.5:0.5b-instruct
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
TARGET = 0.95
TAG = "benchmark"
TOKENS = 48
CONTEXT = 1024
ROUNDS = 3
CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


def questions(count: int) -> list[str]:
    """Return different questions of the same kind."""
    topics = ("tin", "rain", "the moon", "bread", "steel", "owls", "glass", "tea", "maps", "salt")
    return [f"Tell me {n + 2} things of {topics[n % len(topics)]}." for n in range(count)]


@contextmanager
def stand_in(bundle: Path) -> Iterator[str]:
    """Run the tests' server as a process of its own; give its address."""
    command = [sys.executable, __file__, "--serve", str(bundle)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def serve(bundle: Path) -> None:
    """Register a bundle's file at the stand-in, say where it is, and wait until stdin ends."""
    sys.path.insert(0, str(ROOT))
    from loragraft.engine.ollama_server import OllamaServer
    from tests.support.ollama_server import OllamaStandIn

    path = next(bundle.glob("*.gguf"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as folder, OllamaStandIn(Path(folder)) as server:
        with OllamaServer(server.url) as client:
            client.upload(path, digest)
            client.create(TAG, {"template": CHATML, "parameters": {"num_ctx": CONTEXT}}, digest)
        print(server.url, flush=True)
        sys.stdin.read()


def bare(url: str, tag: str, asked: Sequence[str], options: dict[str, Any], width: int) -> int:
    """Send all questions by so many threads; return the tokens of the answers."""
    left, parts, tokens = deque(asked), urlsplit(url), []

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
        while True:
            try:
                text = left.popleft()
            except IndexError:
                connection.close()
                return
            messages = [{"role": "user", "content": text}]
            body = {"model": tag, "messages": messages, "options": options, "stream": False}
            connection.request("POST", "/api/chat", json.dumps(body))
            tokens.append(json.loads(connection.getresponse().read())["eval_count"])

    threads = [threading.Thread(target=work) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == len(asked)
    return sum(tokens)


def measure_ollama(
    url: str, tag: str, *, count: int = 24, concurrency: int = 4, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Return questions a second of both sides, and their ratio."""
    from loragraft.engine.batch.opening import open_engine
    from loragraft.engine.batch.protocol import Job
    from loragraft.engine.batch.specs import OllamaSpec
    from loragraft.engine.ollama import OllamaEngine
    from loragraft.engine.ollama_server import OllamaServer
    from loragraft.engine.protocol import Message, Sampling

    spec = OllamaSpec(kind="ollama", model=tag, host=url, concurrency=concurrency, context=CONTEXT)
    sampling = Sampling(temperature=0.0, max_tokens=TOKENS)
    with OllamaServer(url) as server:
        options = OllamaEngine(tag, server, context=CONTEXT).options(sampling)
    engine = open_engine(spec)
    asked = questions(count)
    jobs = [Job(q, (Message(role="user", content=q),), sampling) for q in asked]
    bare(url, tag, asked[:concurrency], options, concurrency)  # loads the model
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    tokens = set()
    for _ in range(rounds):
        start = time.perf_counter()
        answers = list(engine.answers(jobs))
        middle = time.perf_counter()
        tokens.add(bare(url, tag, asked, options, concurrency))
        times["bare"].append(time.perf_counter() - middle)
        times["ours"].append(middle - start)
        assert all(answer.status == "ok" for answer in answers), answers[0].error
    engine.close()
    rates = {side: count / median(found) for side, found in times.items()}
    return {
        "questions": count, "concurrency": concurrency, "tokens": sorted(tokens),
        "ours_per_second": rates["ours"], "bare_per_second": rates["bare"],
        "ratio": rates["ours"] / rates["bare"],
    }  # fmt: skip


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="for the stand-in: a bundle with ChatML")
    parser.add_argument("--host")
    parser.add_argument("--tag")
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return 0
    if given.host:
        figures = measure_ollama(
            given.host, given.tag, count=given.questions, concurrency=given.concurrency
        )
    else:
        with stand_in(given.bundle.resolve()) as url:
            figures = measure_ollama(url, TAG, count=given.questions, concurrency=given.concurrency)
    print(json.dumps(figures, indent=2))
    return 0 if figures["ratio"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
