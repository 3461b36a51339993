"""Pre-tokenizer structures and llama.cpp's names for them, as data.

Facts from llama.cpp's src/llama-vocab.cpp (regexes and flags per `tokenizer.ggml.pre`) and from
conversion/base.py (which model gets which name). llama.cpp carries several names for one
behaviour; `names` of a structure lists those a converter could pick, the first whose marks fit
is taken, and the last always fits.
"""

# ruff: noqa: RUF001  (regexes of many scripts are the point)
from __future__ import annotations

from dataclasses import dataclass

# The step that maps bytes to printable characters; it ends every structure but Falcon's.
BYTES = "bytes"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# Spellings of CONTRACTIONS that match the same texts.
SAME_AS_CONTRACTIONS = (
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
    "'(?i:[sdmt]|ll|ve|re)",
)
DIGIT = r"\p{N}"
DIGITS = r"\p{N}+"
UP_TO_3_DIGITS = r"\p{N}{1,3}"

_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_CASED_UPPER = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_SLASH_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

LLAMA3 = rf"{CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}"
QWEN2 = rf"{CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}"
QWEN35 = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = rf"{_CASED}|{_CASED_UPPER}|\p{{N}}|{_SLASH_TAIL}"
GPT4O = rf"{_CASED}{CONTRACTIONS}?|{_CASED_UPPER}{CONTRACTIONS}?|\p{{N}}{{1,3}}|{_SLASH_TAIL}"
SEED_CODER = (
    rf"{CONTRACTIONS}|{_WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UFAKZEKA = rf"{_WORD}|\p{{N}}|{_TAIL}"
DEEPSEEK_CJK = "[一-龥ࠀ-一가-퟿]+"
DEEPSEEK3_CJK = "[一-龥぀-ゟ゠-ヿ]+"
DEEPSEEK3_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# DeepSeek LLM lists the cased letters of Unicode one range after the other; the head is enough
# to know it by, since llama.cpp carries exactly one such list.
DEEPSEEK_LETTERS_HEAD = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ"
DEEPSEEK_LETTERS = "deepseek letters"


@dataclass(frozen=True)
class Name:
    """One value of `tokenizer.ggml.pre`.

    `marks`: tokens that must all be in the vocabulary. `without`: tokens that must not be.
    `ignore_merges`: llama.cpp takes whole words from the vocabulary before merging.
    `adds_bos`: llama.cpp puts BOS in front unless the file says otherwise.
    """

    pre: str
    reason: str
    marks: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    ignore_merges: bool = False
    adds_bos: bool = False


@dataclass(frozen=True)
class Structure:
    """Pre-tokenizer steps in canonical form, and the names that llama.cpp has for them.

    `bound_to`: set where llama.cpp's regexes give the same ids only with the family's own
    vocabulary, and why; with another one, the comparison of token ids decides.
    """

    steps: tuple[str, ...]
    names: tuple[Name, ...]
    bound_to: str | None = None


STRUCTURES: tuple[Structure, ...] = (
    Structure(
        (QWEN2, BYTES),
        (
            Name(
                "deepseek-r1-qwen",
                "DeepSeek's turn markers on Qwen's vocabulary",
                ("<｜Assistant｜>",),
            ),
            Name("stablelm2", "StableLM 2's reserved tokens", ("<|reg0|>", "<|extra0|>")),
            Name("qwen2", "also megrez, kormo, f2llmv2, hunyuan, solar-open, grok-2: same regex"),
        ),
    ),
    Structure((QWEN35, BYTES), (Name("qwen35", "letters keep their combining marks"),)),
    Structure(
        (LLAMA3, BYTES),
        (
            Name("glm4", "GLM's mask token; no BOS", ("[gMASK]", "<sop>"), ignore_merges=True),
            Name(
                "llama-bpe",
                "also falcon3, falcon-h1, lfm2, midm-2.0, pixtral: same regex and flags",
                ignore_merges=True,
                adds_bos=True,
            ),
            Name("chatglm-bpe", "GLM's mask token; merges decide", ("[gMASK]", "<sop>")),
            Name("smaug-bpe", "Llama 3's tokens; merges decide", ("<|begin_of_text|>",)),
            Name("dbrx", "same regex, merges decide"),
        ),
    ),
    Structure(
        (DIGIT, GPT2, BYTES),
        (
            Name("command-r", "Cohere's turn token", ("<|START_OF_TURN_TOKEN|>",)),
            Name(
                "smollm",
                "ChatML tokens and no fill-in-the-middle",
                ("<|im_start|>",),
                ("<fim_prefix>",),
            ),
            Name("starcoder", "StarCoder 2's repository token", ("<fim_prefix>", "<repo_name>")),
            Name(
                "refact", "StarCoder, Granite, codeshell, exaone, minerva-7b, mellum2: same regex"
            ),
        ),
    ),
    Structure(
        (GPT2, BYTES),
        (
            Name("phi-2", "tokens for runs of tabs", ("\t\t\t\t\t\t\t\t\t", "<|endoftext|>")),
            Name(
                "olmo", "GPT-NeoX's padding and runs of spaces; also mpt", ("<|padding|>", " " * 24)
            ),
            Name("gpt-2", "also gigachat, a.x-4.0, mellum, jais, trillion, exaone4: same regex"),
        ),
    ),
    Structure(
        (
            r"[\r\n]",
            DEEPSEEK_LETTERS,
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            DEEPSEEK_CJK,
            DIGITS,
            BYTES,
        ),
        (Name("deepseek-llm", "DeepSeek LLM's six steps, digits in runs"),),
    ),
    Structure(
        (
            r"[\r\n]",
            DEEPSEEK_LETTERS,
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            DEEPSEEK_CJK,
            DIGIT,
            BYTES,
        ),
        (Name("deepseek-llm", "DeepSeek LLM's six steps, single digits"),),
        bound_to="llama.cpp keeps runs of digits, of which no token of DeepSeek's has two",
    ),
    Structure(
        (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, DIGIT, BYTES),
        (Name("deepseek-coder", "DeepSeek Coder's five steps, single digits"),),
    ),
    Structure(
        (UP_TO_3_DIGITS, DEEPSEEK3_CJK, DEEPSEEK3_WORDS, BYTES),
        (Name("deepseek-v3", "also hunyuan-dense, joyai-llm, hy_v4: same regexes"),),
    ),
    Structure(
        ("punctuation", GPT2, BYTES, DIGITS, "[0-9][0-9][0-9]"),
        (Name("falcon", "punctuation first, digits by three"),),
        bound_to="the digit steps run after the byte step, and see digits in the bytes of ½ or €",
    ),
    Structure(
        (GPT4O, BYTES),
        (
            Name("llama4", "Llama 4's header token", ("<|header_start|>",)),
            Name("gpt-4o", "also kanana2, talkie: same regex"),
        ),
    ),
    Structure((TEKKEN, BYTES), (Name("tekken", "Mistral's", ignore_merges=True, adds_bos=True),)),
    Structure((SEED_CODER, BYTES), (Name("seed-coder", "line breaks never join punctuation"),)),
    Structure((UFAKZEKA, BYTES), (Name("ufakzeka", "Qwen 2's without English contractions"),)),
)

SUPPORTED_PRE: tuple[str, ...] = tuple(
    name.pre for structure in STRUCTURES for name in structure.names
)
