"""Special token ids, and whether BOS, EOS and SEP are added to every text.

The rules are those of llama.cpp's gguf-py (SpecialVocab), so that files agree: tokenizer.json's
post-processor decides before tokenizer_config.json, and config.json's ids fill what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loragraft.export.tokenizer.files import TokenizerFiles, is_token_id
from loragraft.export.tokenizer.inventory import token_content

# Types llama.cpp's files carry; "cls" is read for the post-processor's sake and has no key.
SPECIAL_TYPES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# The ends of keys in GGUF. "seperator" is its spelling.
GGUF_SUFFIXES: Mapping[str, str] = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "sep": "seperator_token_id",
    "pad": "padding_token_id",
    "mask": "mask_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
}
GGUF_FLAGS = ("bos", "eos", "sep")


@dataclass
class Special:
    """Ids by type ("bos"), flags by type, and what was odd."""

    ids: dict[str, int] = field(default_factory=dict)
    adds: dict[str, bool] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Appointed:
    """Texts of the special tokens by type; the post-processor may change them."""

    texts: dict[str, str]
    known: bool
    ousted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let CLS and SEP stand in for a missing BOS and EOS, as BERT-like tokenizers have it."""
        for missing, substitute in (("bos", "cls"), ("eos", "sep")):
            if missing not in self.texts and substitute in self.texts:
                self.texts[missing] = self.texts[substitute]


def read_special(
    files: TokenizerFiles,
    ids: Mapping[str, int],
    config: Mapping[str, Any],
    size: int,
    added: Mapping[str, int] | None = None,
) -> Special:
    """Return special ids and flags.

    Args:
        files: the tokenizer's folder.
        ids: every token by text.
        config: config.json, whose `*_token_id` fill what the tokenizer leaves open.
        size: rows of the vocabulary; ids beyond it are dropped with a warning.
        added: only the added tokens by text, which go before `ids`; None: the same as `ids`.
    """
    special = Special()
    texts = {kind: token_content(files.config.get(f"{kind}_token")) for kind in SPECIAL_TYPES}
    appointed = _Appointed({kind: t for kind, t in texts.items() if t}, known=bool(files.config))
    if files.json is not None:
        _read_post_processor(files.json.get("post_processor"), appointed, special)
    _read_flags(files.config, special)
    first = ids if added is None else added
    for kind, text in _in_order(appointed):
        _set(special, kind, first.get(text), size)
    for kind in SPECIAL_TYPES:
        _set(special, kind, config.get(f"{kind}_token_id"), size)
    for kind, text in _in_order(appointed):
        _set(special, kind, ids.get(text), size)
    return special


def _in_order(appointed: _Appointed) -> list[tuple[str, str]]:
    pairs = [(kind, appointed.texts[kind]) for kind in SPECIAL_TYPES if kind in appointed.texts]
    # An EOS that the post-processor overrules stays an end of turn, and a second one of message.
    return pairs + list(zip(("eot", "eom"), appointed.ousted, strict=False))


def _set(special: Special, kind: str, token_id: object, size: int) -> None:
    if not is_token_id(token_id) or kind in special.ids:
        return
    assert isinstance(token_id, int)
    if token_id >= size:
        special.warnings.append(
            f"the special token {kind} has the id {token_id}, but the vocabulary ends at "
            f"{size - 1}: "
            "it is left out."
        )
        return
    special.ids[kind] = token_id


def _read_flags(config: Mapping[str, Any], special: Special) -> None:
    for kind in GGUF_FLAGS:
        says = config.get(f"add_{kind}_token")
        if not isinstance(says, bool):
            continue
        does = special.adds.setdefault(kind, says)
        if does != says:
            special.warnings.append(
                f"tokenizer_config.json says add_{kind}_token = {says}, tokenizer.json's "
                "post-processor "
                f"does the opposite: the post-processor is followed."
            )


def _read_post_processor(processor: object, appointed: _Appointed, special: Special) -> None:
    if not isinstance(processor, Mapping):
        return
    steps = processor.get("processors", [processor])
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, Mapping):
            continue
        if step.get("type") == "ByteLevel":
            special.adds.setdefault("bos", False)
            special.adds.setdefault("eos", False)
        elif step.get("type") == "RobertaProcessing":
            special.adds.update(bos=True, eos=True, sep=True)
            _appoint_roberta(step, appointed)
        elif step.get("type") == "TemplateProcessing":
            _read_template(step, appointed, special)


def _appoint_roberta(step: Mapping[str, Any], appointed: _Appointed) -> None:
    if not appointed.known:
        return
    for kind in ("cls", "sep"):
        pair = step.get(kind)
        if kind not in appointed.texts and isinstance(pair, Sequence) and pair:
            appointed.texts[kind] = str(pair[0])


def _template_part(part: object, kind: str) -> str | None:
    """Return the id of a template's entry if it is of `kind` (SpecialToken or Sequence)."""
    inner = part.get(kind) if isinstance(part, Mapping) else None
    text = inner.get("id") if isinstance(inner, Mapping) else None
    return text if isinstance(text, str) else None


def _read_template(step: Mapping[str, Any], appointed: _Appointed, special: Special) -> None:
    single = step.get("single") or []
    first = last = None
    if isinstance(single, list) and len(single) > 1:
        first = _template_part(single[0], "SpecialToken")
        last = _template_part(single[-1], "SpecialToken")
    if first:
        special.adds["bos"] = _is_start(first, appointed, special)
    if last:
        special.adds["eos"] = True
        _appoint_end(last, appointed)
    pair = step.get("pair") or []
    if isinstance(pair, list) and pair:
        _read_pair(pair, first, last, appointed, special)


def _is_start(first: str, appointed: _Appointed, special: Special) -> bool:
    if not appointed.known:
        appointed.texts.setdefault("bos", first)
        return True
    if first not in (appointed.texts.get("bos"), appointed.texts.get("cls")):
        for kind in ("bos", "cls"):
            appointed.texts.setdefault(kind, first)
    if first in (appointed.texts.get("bos"), appointed.texts.get("cls")):
        return True
    special.warnings.append(
        f"tokenizer.json puts {first!r} in front of every text, which is neither BOS nor CLS: "
        "llama.cpp "
        "will not."
    )
    return False


def _appoint_end(last: str, appointed: _Appointed) -> None:
    """Make the token that ends every text the EOS; the one named before becomes an end of turn."""
    if appointed.texts.get("eos") == last:
        return
    if "eos" in appointed.texts:
        appointed.ousted.append(appointed.texts["eos"])
    appointed.texts["eos"] = last


def _read_pair(
    pair: list[Any], first: str | None, last: str | None, appointed: _Appointed, special: Special
) -> None:
    """Find whether a separator stands between two texts: `A [sep] [eos] B`."""
    start = 1 if first and _template_part(pair[0], "SpecialToken") == first else 0
    stop = len(pair) - 1 if last and _template_part(pair[-1], "SpecialToken") == last else len(pair)
    inner = pair[start:stop]
    if (
        len(inner) < 3
        or _template_part(inner[0], "Sequence") != "A"
        or _template_part(inner[-1], "Sequence") != "B"
    ):
        return
    between = [_template_part(part, "SpecialToken") for part in inner[1:-1]]
    ends = (appointed.texts.get("sep"), appointed.texts.get("eos"))
    adds = between[0] is not None and between[0] in ends and not last
    if len(between) == 2 and between[1] is not None and between[1] in ends:
        adds = True
    special.adds["sep"] = adds
    if adds and "sep" not in appointed.texts and "eos" in appointed.texts and appointed.known:
        appointed.texts["sep"] = appointed.texts["eos"]
