"""The reference pipeline: PEFT's merge and llama.cpp's quantizer; see converter.py for the rest.

As a program it runs one step, importing no more than that needs; from the repository's root,
`python -m tests.support.reference merge BASE ADAPTER OUT` or `... quantize IN OUT Q4_K_M`.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import warnings
from pathlib import Path

FILE_TYPES = {"Q4_K_M": 15, "Q8_0": 7}
THREADS = 2
ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = "tests.support.reference"
CARRIED = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja",
           "generation_config.json", "special_tokens_map.json")  # fmt: skip


def reference_merge(base: Path, adapter: Path, out: Path) -> None:
    """Merge in bfloat16 and save, as people do."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        merged.save_pretrained(out)
    for name in CARRIED:
        if (base / name).exists():
            (out / name).write_bytes((base / name).read_bytes())


def reference_quantize(source: Path, out: Path, mix: str) -> None:
    """Run ``llama_model_quantize`` in a process of its own, which keeps its log apart."""
    command = [sys.executable, "-m", MODULE, "quantize", str(source), str(out), mix]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])


def _quantize(source: str, out: str, mix: str) -> int:
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = FILE_TYPES[mix], THREADS
    code = llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params))
    return int(code)


def main(arguments: list[str]) -> int:
    """Run one step."""
    step, *rest = arguments
    if step == "merge":
        reference_merge(*(Path(item) for item in rest))
        return 0
    return _quantize(*rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
