"""The recommended fixes, as Python code that a user can run as it is.

Each leaves the working model in the variable ``model``. What differs between versions of
sentence-transformers is found by feature: up to 5.3 the encoder is ``auto_model``, since 5.4 it
is ``model`` and ``auto_model`` a property that can only be read.
"""

from __future__ import annotations

from loragraft.adapter.diagnose.structure import Shift

_ON_ENCODER = """from peft import PeftConfig, PeftModel
from sentence_transformers import SentenceTransformer

base, adapter = {base!r}, {adapter!r}
model = SentenceTransformer(base)
transformer = model[0]  # the module that holds the encoder
name = "model" if "model" in dict(transformer.named_children()) else "auto_model"
config = PeftConfig.from_pretrained(adapter)
config.inference_mode = True
encoder = PeftModel(getattr(transformer, name), config)
loaded = encoder.load_adapter(adapter, "default")
assert not loaded.missing_keys and not loaded.unexpected_keys, loaded
setattr(transformer, name, encoder.eval())
"""

_ON_LANGUAGE_MODEL = """from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

base, adapter = {base!r}, {adapter!r}
config = PeftConfig.from_pretrained(adapter)
config.inference_mode = True
model = PeftModel(AutoModelForCausalLM.from_pretrained(base), config)
loaded = model.load_adapter(adapter, "default")
assert not loaded.missing_keys and not loaded.unexpected_keys, loaded
model.eval()
"""

_RENAME = """import json
from pathlib import Path
from safetensors.torch import load_file, save_file

source, target = Path({adapter!r}), Path({target!r})
old, new = {old!r}, {new!r}
weights = load_file(source / "adapter_model.safetensors")
weights = {{new + k[len(old):] if k.startswith(old) else k: v for k, v in weights.items()}}
config = json.loads((source / "adapter_config.json").read_text())
config["target_modules"] = sorted(
    {{k.split(".lora_")[0].removeprefix("base_model.model.") for k in weights if ".lora_" in k}}
)
target.mkdir(parents=True, exist_ok=True)
save_file(weights, target / "adapter_model.safetensors")
(target / "adapter_config.json").write_text(json.dumps(config, indent=2))

"""

_INSPECT_FACTORS = """from pathlib import Path
from safetensors.torch import load_file

# Run this on every checkpoint of the training: take one in which B is not zero.
adapter = Path({adapter!r})
for file in sorted(adapter.rglob("adapter_model.safetensors")):
    weights = load_file(file)
    largest = max((float(v.abs().max()) for k, v in weights.items() if "lora_B" in k), default=0.0)
    finite = all(bool(v.isfinite().all()) for v in weights.values())
    print(f"{{file}}: largest |B| {{largest:.3g}}, {{'all finite' if finite else 'NaN or Inf'}}")
"""

_ASK_FOR_BASE = """import json
from pathlib import Path

# Load the adapter on the base that it names, not on this one.
config = json.loads((Path({adapter!r}) / "adapter_config.json").read_text())
print(config["base_model_name_or_path"], config.get("revision"))
"""

_COPY = """import shutil
from pathlib import Path

# PEFT reads these two names only.
source, target = Path({weights!r}), Path({target!r})
target.mkdir(parents=True, exist_ok=True)
shutil.copyfile(source, target / "adapter_model.safetensors")
shutil.copyfile(source.parent / "adapter_config.json", target / "adapter_config.json")

"""


def copy_code(weights: str, target: str) -> str:
    """Return code that gives an adapter's weights the name that PEFT reads, in another folder."""
    return _COPY.format(weights=weights, target=target)


def attach_code(kind: str, base: str, adapter: str) -> str:
    """Return code that puts an adapter where it belongs, and fails if a key does not land."""
    template = _ON_ENCODER if kind == "sentence-transformer" else _ON_LANGUAGE_MODEL
    return template.format(base=base, adapter=adapter)


def rename_code(kind: str, base: str, adapter: str, shift: Shift | None) -> str:
    """Return code that writes the adapter with changed keys beside it, and loads that."""
    if shift is None:
        return attach_code(kind, base, adapter)
    target = f"{adapter.rstrip('/')}-renamed"
    rename = _RENAME.format(adapter=adapter, target=target, old=shift.drop, new=shift.add)
    return rename + attach_code(kind, base, target)


def inspect_code(adapter: str) -> str:
    """Return code that looks for a checkpoint with a working adapter."""
    return _INSPECT_FACTORS.format(adapter=adapter)


def other_base_code(adapter: str) -> str:
    """Return code that names the base an adapter asks for."""
    return _ASK_FOR_BASE.format(adapter=adapter)
