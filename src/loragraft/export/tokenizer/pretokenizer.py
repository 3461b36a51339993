"""Name llama.cpp's pre-tokenizer from the structure of tokenizer.json.

llama.cpp's converter hashes the ids of one test sentence, so that a fine-tune with one more token
is unknown to it. Here the steps themselves are compared: two tokenizers with the same steps split
every text in the same way, whatever their vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer import structures
from loragraft.export.tokenizer.bpe import check_merges, read_merges
from loragraft.export.tokenizer.structures import BYTES, Name, Structure

_NEXT = (
    "loragraft carries over only what llama.cpp can split in the same way. Use a base with one of "
    f"these pre-tokenizers: {', '.join(structures.SUPPORTED_PRE)}, or a SentencePiece BPE "
    "tokenizer; if the steps come from a faulty conversion, take the original's tokenizer.json."
)
_SHOWN_LENGTH = 300
_CONTROL_ESCAPES = {"\r": r"\r", "\n": r"\n", "\t": r"\t"}
# Normalizers that byte-level BPE may have. llama.cpp applies none; NFC leaves composed text, which
# is nearly all text, as it is (parity.py reports the rest).
_HARMLESS_NORMALIZERS = frozenset({"NFC"})


@dataclass(frozen=True)
class PreTokenizer:
    """What was recognised: llama.cpp's model and pre-tokenizer names, and why."""

    model: str
    name: Name


SENTENCEPIECE = PreTokenizer(
    "llama", Name("default", "SentencePiece BPE with bytes", adds_bos=True)
)


def recognise(tokenizer: Mapping[str, Any], tokens: Mapping[str, int], source: str) -> PreTokenizer:
    """Return llama.cpp's pre-tokenizer for a tokenizer.json.

    Args:
        tokenizer: the parsed tokenizer.json.
        tokens: every token's text, for telling names with equal steps apart.
        source: the file, named in errors.

    Raises:
        TokenizerError: no pre-tokenizer of llama.cpp does the same.
    """
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") not in (None, "BPE"):
        kind = model.get("type") if isinstance(model, dict) else model
        raise TokenizerError(
            f"{source} has a model of type {kind!r}, but BPE was expected. {_NEXT}"
        )
    steps = canonical_steps(tokenizer.get("pre_tokenizer"), source)
    if BYTES not in steps:
        _check_sentencepiece(tokenizer, model, steps, tokens, source)
        return SENTENCEPIECE
    _check_byte_level(tokenizer, model, source)
    structure = _find_structure(steps, source)
    return PreTokenizer(model="gpt2", name=_choose_name(structure, model, tokens, source))


def canonical_steps(pre_tokenizer: object, source: str) -> tuple[str, ...]:
    """Return the steps as regexes and words, spelled in one way.

    Equal steps that tokenizer.json spells differently become equal here: digit steps become
    regexes, a byte-level step with its own regex becomes two, control characters in regexes
    become escapes.
    """
    steps: list[str] = []
    for step in _flatten(pre_tokenizer, source):
        steps.extend(_canonical_step(step, source))
    return tuple(steps)


def _flatten(step: object, source: str) -> list[Mapping[str, Any]]:
    if step is None:
        return []
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise TokenizerError(
            f"{source} has the pre-tokenizer step {_shown(step)}, which has no type. {_NEXT}"
        )
    if step["type"] != "Sequence":
        return [step]
    inner = step.get("pretokenizers")
    if not isinstance(inner, list):
        raise TokenizerError(f"{source} has a pre-tokenizer sequence without steps. {_NEXT}")
    return [flat for part in inner for flat in _flatten(part, source)]


def _canonical_step(step: Mapping[str, Any], source: str) -> list[str]:
    kind = step["type"]
    if kind == "ByteLevel" and not step.get("add_prefix_space", True):
        return [structures.GPT2, BYTES] if step.get("use_regex", True) else [BYTES]
    if kind == "Digits":
        return [structures.DIGIT if step.get("individual_digits") else structures.DIGITS]
    if kind == "Punctuation" and step.get("behavior") == "Contiguous":
        return ["punctuation"]
    if kind == "Metaspace" and step.get("replacement", "▁") == "▁":
        return ["metaspace split" if step.get("split", True) else "metaspace"]
    if kind == "Split":
        return [_canonical_split(step, source)]
    raise TokenizerError(
        f"{source} has the pre-tokenizer step {_shown(step)}, which llama.cpp lacks. {_NEXT}"
    )


def _canonical_split(step: Mapping[str, Any], source: str) -> str:
    pattern = step.get("pattern")
    behaviour = (step.get("behavior"), bool(step.get("invert", False)))
    if (
        isinstance(pattern, dict)
        and pattern.get("String") == " "
        and behaviour[0] == "MergedWithPrevious"
    ):
        return "spaces"
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    # Keeping only what matches is the same as isolating it where the regex matches everything,
    # which those that end in a bare \s+ do.
    keeps_all = behaviour == ("Removed", True) and isinstance(regex, str) and regex.endswith(r"\s+")
    if not isinstance(regex, str) or not (behaviour == ("Isolated", False) or keeps_all):
        raise TokenizerError(
            f"{source} has the pre-tokenizer step {_shown(step)}, which llama.cpp lacks. {_NEXT}"
        )
    return canonical_regex(regex)


def canonical_regex(regex: str) -> str:
    """Return `regex` with control characters as escapes and contractions in one spelling."""
    for character, escape in _CONTROL_ESCAPES.items():
        regex = regex.replace(character, escape)
    for spelling in structures.SAME_AS_CONTRACTIONS:
        regex = regex.replace(spelling, structures.CONTRACTIONS)
    if regex.startswith(structures.DEEPSEEK_LETTERS_HEAD):
        return structures.DEEPSEEK_LETTERS
    return regex


def _find_structure(steps: tuple[str, ...], source: str) -> Structure:
    for structure in structures.STRUCTURES:
        if structure.steps == steps:
            return structure
    raise TokenizerError(
        f"{source} splits text by these steps, which no pre-tokenizer of llama.cpp has: "
        f"{' → '.join(steps)}. {_NEXT}"
    )


def _choose_name(
    structure: Structure, model: Mapping[str, Any], tokens: Mapping[str, int], source: str
) -> Name:
    wanted = bool(model.get("ignore_merges", False))
    fitting = [name for name in structure.names if name.ignore_merges == wanted]
    if not fitting:
        _check_merges_complete(model, structure, wanted, source)
        fitting = list(structure.names)
    for name in fitting:
        if all(mark in tokens for mark in name.marks) and not any(
            t in tokens for t in name.without
        ):
            return name
    return fitting[-1]


def _check_merges_complete(
    model: Mapping[str, Any], structure: Structure, wanted: bool, source: str
) -> None:
    """Let ignore_merges differ where it cannot matter: where merges rebuild every token."""
    missed = tokens_out_of_reach(model, source)
    if missed:
        raise TokenizerError(
            f"{source} says ignore_merges = {wanted}, llama.cpp's {structure.names[-1].pre!r} does "
            "the "
            f"opposite, and {len(missed)} tokens such as {missed[0]!r} are not what the merges "
            "make "
            f"of their characters, so that ids would differ. {_NEXT}"
        )


def tokens_out_of_reach(model: Mapping[str, Any], source: str) -> list[str]:
    """Return the tokens of a BPE model that its own merges do not rebuild."""
    from tokenizers.models import BPE

    merges = read_merges(model, source)
    check_merges(merges, model["vocab"], source)
    bpe = BPE(vocab=model["vocab"], merges=merges, ignore_merges=False)
    return [text for text in model["vocab"] if len(bpe.tokenize(text)) != 1]


def _check_byte_level(tokenizer: Mapping[str, Any], model: Mapping[str, Any], source: str) -> None:
    for step in normalizer_steps(tokenizer.get("normalizer"), source):
        if step["type"] not in _HARMLESS_NORMALIZERS:
            raise TokenizerError(
                f"{source} normalizes text by {_shown(step)}, and llama.cpp's BPE does not. {_NEXT}"
            )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise TokenizerError(
                f"{source} has {key} = {model[key]!r}, which llama.cpp lacks. {_NEXT}"
            )


def normalizer_steps(normalizer: object, source: str) -> list[Mapping[str, Any]]:
    """Return the steps of a normalizer, sequences resolved."""
    if normalizer is None:
        return []
    if not isinstance(normalizer, dict) or not isinstance(normalizer.get("type"), str):
        raise TokenizerError(
            f"{source} has the normalizer {normalizer!r}, which has no type. {_NEXT}"
        )
    if normalizer["type"] != "Sequence":
        return [normalizer]
    inner = normalizer.get("normalizers") or []
    return [step for part in inner for step in normalizer_steps(part, source)]


def _check_sentencepiece(
    tokenizer: Mapping[str, Any],
    model: Mapping[str, Any],
    steps: tuple[str, ...],
    tokens: Mapping[str, int],
    source: str,
) -> None:
    """Take what llama.cpp's SentencePiece BPE does: spaces become ▁, merges over the whole text."""
    if not model.get("byte_fallback"):
        raise TokenizerError(
            f"{source} is BPE without byte-level step and without byte_fallback (steps: "
            f"{' → '.join(steps) or 'none'}): llama.cpp cannot encode unknown characters. {_NEXT}"
        )
    if steps not in ((), ("metaspace",), ("metaspace split",), ("spaces",)):
        raise TokenizerError(
            f"{source} has byte_fallback and splits text by {' → '.join(steps)}; llama.cpp's "
            f"SentencePiece model merges over the whole text. {_NEXT}"
        )
    for step in normalizer_steps(tokenizer.get("normalizer"), source):
        if not _is_space_escape(step):
            raise TokenizerError(
                f"{source} normalizes text by {_shown(step)}; llama.cpp only turns spaces to ▁. "
                f"{_NEXT}"
            )
    if steps == ("metaspace split",) and any("▁" in text[1:] for text in tokens):
        raise TokenizerError(
            f"{source} splits at spaces, but has tokens that span several words; llama.cpp would "
            f"use them. {_NEXT}"
        )


def _is_space_escape(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Prepend":
        return bool(step.get("prepend") == "▁")
    return (
        step["type"] == "Replace"
        and step.get("content") == "▁"
        and step.get("pattern") == {"String": " "}
    )


def _shown(step: object) -> str:
    """Return a step for a message: some carry kilobytes of tables."""
    text = repr(step)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
