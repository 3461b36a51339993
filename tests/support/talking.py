"""Pico models of every family, trained for a moment to say one sentence and end their turn.

Each has its family's chat template, turn end and kind of tokenizer, so that what is proven on them
is what a family's model needs: the very ids of the template, and the stop.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.export.tokenizer import support
from tests.support.sources import llama_cpp_source

SAYING = "All is well."
QUESTIONS = ("word 1 the fox", "jumps over 16 dogs", "the quick brown", "lazy")
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "tie_word_embeddings": False, "pad_token_id": 0,
}  # fmt: skip
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "tie_word_embeddings": True}
STEPS, RATE = 60, 1e-2
KEPT = 1000
"""Tokens of a real vocabulary: its whole would cost minutes of training and export."""

LLAMA2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ (bos_token if not loop.first else '') + '[INST] ' + m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + "
    "' [/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """What a family's conversations are made of.

    ``template`` is our text, or the name of a file among llama.cpp's real templates. ``end`` is the
    token by which it learns to end its turns; ``eos`` is what tokenizer_config.json and
    config.json name, which for some families is another.
    """

    kind: str
    template: str
    end: str
    eos: str = "</s>"
    bos: str | None = "<s>"
    tokenizer: str = "spm"
    added: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
          "<|eot_id|>", "<|eom_id|>")  # fmt: skip
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PHI3 = ("<|endoftext|>", "<|assistant|>", "<|user|>", "<|system|>", "<|end|>")
TURNS = ("<start_of_turn>", "<end_of_turn>")

TALKING: dict[str, Family] = {
    "llama": Family("Llama", LLAMA2, "</s>"),
    "llama3": Family(
        "Llama", "meta-llama-Llama-3.1-8B-Instruct.jinja", "<|eot_id|>", "<|end_of_text|>",
        "<|begin_of_text|>", "llama-bpe", LLAMA3,
    ),
    "mistral": Family("Mistral", MISTRAL, "</s>", options={"sliding_window": None}),
    "qwen2": Family(
        "Qwen2", "Qwen-Qwen2.5-7B-Instruct.jinja", "<|im_end|>", "<|im_end|>", None, "qwen2",
        CHATML,
    ),
    "qwen3": Family(
        "Qwen3", "Qwen-Qwen3-0.6B.jinja", "<|im_end|>", "<|im_end|>", None, "qwen2",
        (*CHATML, "<think>", "</think>"), {"head_dim": 32},
    ),
    "gemma2": Family("Gemma2", "google-gemma-2-2b-it.jinja", "<end_of_turn>", "<eos>", "<bos>",
                     "gemma", TURNS, GEMMA),
    "gemma3": Family("Gemma3Text", "google-gemma-2-2b-it.jinja", "<end_of_turn>", "<eos>", "<bos>",
                     "gemma", TURNS, GEMMA),
    "phi3": Family(
        "Phi3", "microsoft-Phi-3.5-mini-instruct.jinja", "<|end|>", "<|endoftext|>", added=PHI3
    ),
}  # fmt: skip


def template_of(family: Family) -> str:
    """Return a family's chat template."""
    if not family.template.endswith(".jinja"):
        return family.template
    path = llama_cpp_source() / "models" / "templates" / family.template
    return path.read_text(encoding="utf-8")


def _pieces(family: Family) -> dict[str, Any]:
    """Train a small SentencePiece vocabulary; return its fields as GGUF files have them."""
    import sentencepiece

    words = [f"word {n} the quick brown fox {n * n} jumps over lazy dogs. {SAYING}"
             for n in range(400)]  # fmt: skip
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_writer=out, vocab_size=512, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3, minloglevel=2,
        bos_piece="<bos>" if family.tokenizer == "gemma" else "<s>",
        eos_piece="<eos>" if family.tokenizer == "gemma" else "</s>",
    )  # fmt: skip
    trained = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    ids = range(trained.vocab_size())
    kinds = (("is_unknown", support.UNKNOWN), ("is_control", support.CONTROL),
             ("is_byte", support.BYTE))  # fmt: skip
    return {
        "tokens": [trained.id_to_piece(i) for i in ids],
        "scores": [trained.get_score(i) for i in ids],
        "token_type": [
            next((kind for name, kind in kinds if getattr(trained, name)(i)), support.NORMAL)
            for i in ids
        ],
    }


def _beginning(name: str) -> dict[str, Any]:
    """Return the first tokens and merges of a real vocabulary: a tokenizer of its own right."""
    fields = support.read_vocabulary_file(llama_cpp_source() / "models" / f"ggml-vocab-{name}.gguf")
    tokens = fields["tokens"][:KEPT]
    known = set(tokens)
    merges = [m for m in fields["merges"][:KEPT] if known.issuperset([*m.split(), _joined(m)])]
    return {"tokens": tokens, "merges": merges, "token_type": [support.NORMAL] * len(tokens)}


def _joined(merge: str) -> str:
    return merge.replace(" ", "", 1)


def save_tokenizer(folder: Path, family: Family) -> Any:  # noqa: ANN401
    """Write a family's tokenizer with its special tokens and template; return it."""
    from transformers import AutoTokenizer

    pieces = family.tokenizer in ("spm", "gemma")
    fields = _pieces(family) if pieces else _beginning(family.tokenizer)
    fields["tokens"] += family.added
    fields["token_type"] += [support.CONTROL] * len(family.added)
    fields.setdefault("scores", []).extend([0.0] * len(family.added))
    if pieces:
        normal = {"spm": support.LLAMA_NORMALIZER, "gemma": support.GEMMA_NORMALIZER}
        tokenizer = support.sentencepiece_json(
            fields, normalizer=normal[family.tokenizer], bos=family.bos
        )
        if family.kind == "Phi3":  # its real tokens swallow the white space after them
            for token in tokenizer["added_tokens"]:
                token["rstrip"] = token["content"] not in ("<unk>", "<s>", "<|endoftext|>")
    else:
        steps = support.PRE_TOKENIZERS[family.tokenizer]
        llama3 = family.tokenizer == "llama-bpe"
        tokenizer = support.byte_level_json(fields, steps, ignore_merges=llama3)
        tokenizer["normalizer"] = None if llama3 else {"type": "NFC"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
        "bos_token": family.bos, "eos_token": family.eos, "add_bos_token": family.bos is not None,
        "chat_template": template_of(family),
    }  # fmt: skip
    support.write_folder(folder, tokenizer, settings)
    return AutoTokenizer.from_pretrained(folder)


def conversations(saying: str = SAYING) -> list[list[dict[str, str]]]:
    """Return conversations of one and two turns that end with the saying."""
    one = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": saying}]
        for question in QUESTIONS
    ]
    return [*one, one[0] + one[1]]


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], **more: Any) -> list[int]:  # noqa: ANN401
    """Return transformers' own ids of a conversation, ready for the answer."""
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False, **more
    )
    return [int(token) for token in ids]


def _examples(tokenizer: Any, family: Family) -> list[tuple[list[int], list[int]]]:  # noqa: ANN401
    """Return prompts and answers in ids, the turn end last."""
    said = tokenizer.encode(SAYING, add_special_tokens=False)
    answer = [*said, tokenizer.convert_tokens_to_ids(family.end)]
    return [(prompt_ids(tokenizer, messages[:-1]), answer) for messages in conversations()]


def _model(family: Family, tokenizer: Any) -> Any:  # noqa: ANN401
    import transformers

    size = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
    settings = {
        **SIZES, "vocab_size": size + -size % 32, "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id, **family.options,
    }  # fmt: skip
    config = getattr(transformers, f"{family.kind}Config")(**settings)
    return getattr(transformers, f"{family.kind.removesuffix('Text')}ForCausalLM")(config)


def _train(model: Any, examples: Sequence[tuple[list[int], list[int]]]) -> None:  # noqa: ANN401
    """Teach a model the answers; the prompts themselves are not learnt."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for step in range(STEPS):
        prompt, answer = examples[step % len(examples)]
        ids = torch.tensor([prompt + answer])
        logits = model(ids).logits[0, len(prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on several threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build_talking(name: str, folder: Path) -> Path:
    """Build a checkpoint that answers ``SAYING`` and ends its turn, by a name of ``TALKING``."""
    import torch

    family = TALKING[name]
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        tokenizer = save_tokenizer(folder, family)
        torch.manual_seed(20251101)
        model = _model(family, tokenizer)
        _train(model, _examples(tokenizer, family))
        model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def build_bundle(checkpoint: Path, folder: Path, quant: str = "F16") -> Path:
    """Export a checkpoint as the bundle of a folder."""
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest

    run_export(ExportRequest(checkpoint, (), folder.parent, folder.name, (quant,), threads=1))
    return folder
