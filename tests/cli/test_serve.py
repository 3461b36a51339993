"""``loragraft serve``: a real server, asked over HTTP and ended by Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.serving import app
from loragraft.serving.address import KEY_VARIABLE
from tests.support.talking import SAYING

KEY = "the-key-of-the-tests"
WAIT_SECONDS = 60


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["serve", *map(str, arguments)])


@contextmanager
def server(*arguments: str | Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server; yield it and its address."""
    command = [sys.executable, "-m", "loragraft", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **variables},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, process.communicate(timeout=WAIT_SECONDS)
        yield process, next(word for word in line.split() if word.startswith("http://"))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_server_answers_and_ends_by_ctrl_c(talking_bundle: Callable[[str], Path]) -> None:
    with server(talking_bundle("qwen3"), "--context", "256") as (process, url):
        body = {"messages": [{"role": "user", "content": "lazy"}], "temperature": 0}
        answer = httpx.post(f"{url}/chat/completions", json=body, timeout=WAIT_SECONDS).json()
        assert answer["choices"][0]["message"]["content"] == SAYING
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "qwen3"
        hostile = {**body, "grammar": "root ::= ("}
        assert httpx.post(f"{url}/chat/completions", json=hostile).status_code == 400
        base = url.removesuffix("/v1")
        tokens = {"tokens": [99_999_999, -5]}
        assert httpx.post(f"{base}/extras/detokenize", json=tokens).status_code == 404
        again = httpx.post(f"{url}/chat/completions", json=body, timeout=WAIT_SECONDS).json()
        assert again["choices"] == answer["choices"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0
        assert out == ""
        assert err.endswith("Stopped.\n")
        assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_ends_a_long_answer_too(smollm2_bundle: Path) -> None:
    with server(smollm2_bundle, "--context", "4096") as (process, url):
        body = {"messages": [{"role": "user", "content": "Count."}], "temperature": 3.0, "seed": 1}
        with (
            httpx.Client(timeout=WAIT_SECONDS) as client,
            client.stream("POST", f"{url}/chat/completions", json={**body, "stream": True}) as got,
        ):
            assert next(got.iter_lines())
            process.send_signal(signal.SIGINT)
            process.wait(WAIT_SECONDS)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_key_is_required_and_not_shown(talking_bundle: Callable[[str], Path]) -> None:
    options = ("--host", "0.0.0.0")
    with server(talking_bundle("qwen3"), *options, **{KEY_VARIABLE: KEY}) as (process, url):
        local = f"{url}/models".replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(local).status_code == 401
        header = {"Authorization": f"Bearer {KEY}"}
        assert httpx.get(local, headers=header).status_code == 200
        command = Path(f"/proc/{process.pid}/cmdline")
        assert not command.exists() or KEY.encode() not in command.read_bytes()
        process.terminate()
        out, err = process.communicate(timeout=WAIT_SECONDS)
        assert KEY not in out + err
        assert process.returncode == 0


def test_other_addresses_need_a_key(
    talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    result = run(talking_bundle("qwen3"), "--host", "0.0.0.0")
    assert result.exit_code == 2
    assert KEY_VARIABLE in result.stderr


def test_a_taken_port(talking_bundle: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(talking_bundle("qwen3"), "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 3
    assert "taken" in result.stderr


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    result = run(tmp_path, "--port", "0")
    assert result.exit_code == 2
    assert "not a bundle" in result.stderr


def test_packages_that_are_missing(
    talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PACKAGES", ("no_such_package",))
    result = run(talking_bundle("qwen3"), "--port", "0")
    assert result.exit_code == 3
    assert 'pip install "loragraft[serve]"' in result.stderr
