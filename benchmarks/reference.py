"""The pipeline that loragraft is compared with, in quality by the tests, in speed by benchmarks.

PEFT's ``merge_and_unload`` in bfloat16 and a saved checkpoint, then llama.cpp's
``convert_hf_to_gguf.py``, then its ``llama_model_quantize``: three programs, three files. The
converter comes from the source distribution of the llama-cpp-python version that is installed,
so that it fits the library; it is downloaded, run as it is and never copied from.

    python -m benchmarks.reference merge BASE ADAPTER FOLDER
    python -m benchmarks.reference convert FOLDER FILE.gguf --outtype bf16
    python -m benchmarks.reference quantize FILE.gguf QUANTIZED.gguf Q4_K_M
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from scripts.build_smollm2 import cache_folder, pip_download

THREADS = 2
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
)


class PipelineError(RuntimeError):
    """A step of the reference pipeline failed; the message holds its last words."""


def llama_cpp_source(cache: Path | None = None) -> Path:
    """Return the folder of llama.cpp's source that belongs to the installed llama-cpp-python.

    Downloads (73 MB) and unpacks the source distribution once.
    """
    cache = cache or cache_folder()
    name = f"llama_cpp_python-{version('llama-cpp-python')}"
    target = cache / name
    if not target.is_dir():
        archive = pip_download(
            name.replace("_", "-", 2).replace("python-", "python=="),
            cache / "downloads",
            "--no-binary",
            "llama-cpp-python",
        )
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as staging:
            with tarfile.open(archive) as tar:
                tar.extractall(staging, filter="data")
            try:
                (Path(staging) / name).rename(target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target / "vendor" / "llama.cpp"


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files unchanged, as the save of a library may rewrite them."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def reference_merge(base: Path, adapter: Path, out: Path) -> Path:
    """Merge by PEFT's ``merge_and_unload`` in bfloat16 and save, tokenizer included.

    The adapter's tokenizer files, where it has some, go before the base's. Embeddings are
    resized first where the adapter's saved modules are taller than the base's.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    rows = saved_vocabulary(adapter)
    if rows and rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(out)
    copy_tokenizer(base, out)
    copy_tokenizer(adapter, out)
    return out


def saved_vocabulary(adapter: Path) -> int | None:
    """Return the rows of an embedding or output matrix saved whole in the adapter."""
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "np") as tensors:
        names = ("embed_tokens.weight", "lm_head.weight")
        for key in tensors.keys():  # noqa: SIM118 - not a dict
            if key.endswith(names):
                return int(tensors.get_slice(key).get_shape()[0])
    return None


def reference_convert(checkpoint: Path, out: Path, outtype: str = "bf16") -> Path:
    """Convert a checkpoint by llama.cpp's own script, in its own process.

    Raises:
        PipelineError: the script failed.
    """
    script = llama_cpp_source() / "convert_hf_to_gguf.py"
    command = [sys.executable, str(script), str(checkpoint), "--outfile", str(out)]
    environment = {name: value for name, value in os.environ.items() if name != "NO_LOCAL_GGUF"}
    done = subprocess.run(
        [*command, "--outtype", outtype],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode or not out.is_file():
        raise PipelineError(f"convert_hf_to_gguf.py failed:\n{done.stderr[-4000:]}")
    return out


def reference_quantize(source: Path, out: Path, ftype: str | int) -> Path:
    """Quantize by ``llama_model_quantize``; ``ftype`` is a mix's name or llama.cpp's number.

    Raises:
        PipelineError: llama.cpp refused.
    """
    import llama_cpp

    number = ftype if isinstance(ftype, int) else mix_number(ftype)
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = number
    parameters.nthread = THREADS
    code = llama_cpp.llama_model_quantize(
        str(source).encode(), str(out).encode(), ctypes.byref(parameters)
    )
    if code:
        raise PipelineError(f"llama_model_quantize returned {code} for {source} and {ftype}")
    return out


def mix_number(name: str) -> int:
    """Return llama.cpp's number of a mix, such as 15 for Q4_K_M."""
    import llama_cpp

    for prefix in ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"):
        if hasattr(llama_cpp, prefix + name):
            return int(getattr(llama_cpp, prefix + name))
    raise PipelineError(f"llama.cpp has no mix named {name}")


def reference_gguf(base: Path, adapter: Path, folder: Path, mix: str) -> Path:
    """Run all three steps and return the quantized file; the intermediate ones stay beside it."""
    reference_merge(base, adapter, folder / "merged")
    reference_convert(folder / "merged", folder / "merged.gguf")
    return reference_quantize(folder / "merged.gguf", folder / f"{mix}.gguf", mix)


def main() -> int:
    """Run one step, as a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    merge = steps.add_parser("merge")
    merge.add_argument("base", type=Path)
    merge.add_argument("adapter", type=Path)
    merge.add_argument("out", type=Path)
    convert = steps.add_parser("convert")
    convert.add_argument("checkpoint", type=Path)
    convert.add_argument("out", type=Path)
    convert.add_argument("--outtype", default="bf16")
    quantize = steps.add_parser("quantize")
    quantize.add_argument("source", type=Path)
    quantize.add_argument("out", type=Path)
    quantize.add_argument("ftype")
    arguments = vars(parser.parse_args())
    step = {
        "merge": reference_merge,
        "convert": reference_convert,
        "quantize": reference_quantize,
    }[arguments.pop("step")]
    print(json.dumps({"written": str(step(**arguments))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
