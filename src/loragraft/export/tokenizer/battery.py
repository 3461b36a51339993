"""Texts on which two tokenizers are compared: our own, chosen for where tokenizers part."""

# ruff: noqa: RUF001  (texts of many scripts are the point)
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_CODE = (
    "def mean(xs: list[float]) -> float:\n    return sum(xs) / len(xs)  # no guard\n",
    "for (int i = 0; i < n; ++i) {\n\tif (a[i] != b[i]) { return -1; }\n}\r\n",
    "SELECT id, COUNT(*) FROM logs WHERE ts >= '2024-01-31' GROUP BY id;\n",
    '{"key": [1, 2.5e-3, null, true], "päth": "C:\\\\temp\\\\new"}',
    '<div class="a b"><br/>&nbsp;&#x1F600;</div>\n\n\n<!-- end -->',
    '#!/bin/sh\nset -eu; x=$(( (1<<4) | 0x0F ))\necho "${x:-none}" 2>/dev/null || true',
    'fn main() { let v: Vec<&\'static str> = vec![]; println!("{:?}", v); }',
    "camelCaseName snake_case_name SCREAMING_CASE kebab-case HTTPServer2 iPhone15Pro",
    "\\frac{\\partial f}{\\partial x} = \\lim_{h \\to 0} \\frac{f(x+h)-f(x)}{h}",
)

_PROSE = (
    "",
    "a",
    "Hello",
    " Hello",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "I'm sure you'll say they've gone, we'd agree, it's o'clock 'tis; DON'T, I'M, WE'LL, he'S",
    "“Curly quotes” – en-dash — em-dash … ellipsis ‚low‘ «guillemets»",
    "Dr. Smith's e-mail: jane.doe+test@example.co.uk (cc: info@beispiel.de)?!",
    "https://example.org/a/b_c-d?q=1&r=%20x#frag http://[::1]:8080/ ftp://user:pw@host/",
    "!!!???...,,,;;;:::---___===+++***///\\\\\\|||~~~^^^```\"\"\"'''<<<>>>{{{}}}[[[]]]((()))",
    "$100 €20 £5 ¥3000 ₹50 ½ ¼ 10% 5‰ 3×4 ÷ ± ≠ ≤ √2 ∑ ∞ → ⇒ ∀x∈ℝ",
)

_DIGITS = (
    "0 1 12 123 1234 12345 123456 1234567 12345678 123456789 1234567890",
    "3.14159 1,000,000 1_000 007 1e10 -5 +49 (555) 123-4567 2024-12-31T23:59:59Z",
    "v1.2.3-rc4 10x 3rd 1st 50mg 8GB 12:30 1/2 99% #42",
    "٠١٢٣٤٥ ०१२३ ๑๒๓ １２３４ ²³ ₁₂ Ⅷ ⑩ 五百",
    "1" * 40,
)

_SCRIPTS = (
    "我想在苹果公司工作，明年是2025年。他说：“你好！”「引用」《书名》",
    "吾輩は猫である。名前はまだ無い。カタカナ ﾊﾝｶｸ ひらがなー々〆",
    "안녕하세요, 세계! 저는 학생입니다. ㄱㄴㄷ ㅏㅑ 값을 읽었다",
    "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "مرحبا بالعالم، كيف حالك؟ السَّلامُ عَلَيْكُمْ",
    "שלום עולם! מה שלומך? בְּרֵאשִׁית",
    "नमस्ते दुनिया। हिन्दी में लिखा हुआ वाक्य।",
    "বাংলা ভাষা தமிழ் மொழி తెలుగు ಕನ್ನಡ മലയാളം සිංහල ខ្មែរ ລາວ မြန်မာ አማርኛ ქართული հայերեն",
    "Привет, мир! Нещо на Български. Їжак ґанок",
    "Γειά σου Κόσμε! Ἐν ἀρχῇ ἦν ὁ λόγος",
    "Zażółć gęślą jaźń Příliš žluťoučký kůň Größe façade naïve Ñandú Þórr œuvre Æon ĳ Đặng ễ",
    "ǅ ǈ ﬁ ﬂ ß ẞ İ ı ſ ª º µ ℃ № ™",
)

_EMOJI = (
    "🙂🚀🎉 ok",
    "👩‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪🇺🇸 ❤️‍🔥 1️⃣ #️⃣",
    "text😀text 😶‍🌫️ ✅❌ ☎️ ♥ ★",
    "🦙.cpp 🧬🧪",
)

_COMBINING = (
    "e\u0301 a\u0308 n\u0303 o\u0302\u0301 Z\u0351\u036b\u0343 q\u0307\u0323",
    "cafe\u0301 vs caf\u00e9; A\u030a vs \u00c5 vs \u212b",
    "\u1112\u1161\u11ab \ud55c \u0e01\u0e33 \u0915\u094d\u0937",
)

_WHITESPACE = (
    " ",
    "  ",
    "   ",
    "    ",
    " " * 7,
    " " * 16,
    " " * 33,
    "\t",
    "\t\t",
    "\t\t\t\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    " \n",
    "\n ",
    " \n \n  \n\t\n",
    "\t \t  \t",
    "a b  c   d    e     f",
    "a\tb\t\tc\n\td\n\n\te",
    "trailing space ",
    "trailing spaces   ",
    "trailing tab\t",
    "trailing newline\n",
    "trailing lines\n\n\n",
    "   leading spaces",
    "\n\nleading lines",
    "    indented\n        more\n    back\n",
    "no\u00a0break thin\u2009space ideographic\u3000space line\u2028sep par\u2029sep nel\u0085x",
    "zero\u200bwidth joi\u200dner non\u200cjoiner word\u2060joiner soft\u00adhyphen",
    "▁literal ▁▁ lower▁block",
    "x \u000b vt \u000c ff",
)

_EDGES = (
    "\ufeffbyte order mark",
    "\ufffd replacement \ufffe noncharacter \U0010ffff last",
    "\x00 null \x01\x02\x1b[31m escape \x7f delete",
    "\ue000 private \U000f0000 plane 15",
    "\u0378 unassigned \u0300 lone mark \u20e3",
    "\u202eright to left override\u202c \u2066isolate\u2069",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 ＦＵＬＬ ｗｉｄｔｈ 𐍈 𒀀 𓂀",
    "<0x0A> <0xFF> [PAD5] [UNK] <pad <s >s> <|not a token|> <||> </ s>",
    "ab" * 60,
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
    "<html>" * 3 + "\n" * 9 + " " * 5,
)

TEXTS: tuple[str, ...] = (
    _PROSE + _CODE + _DIGITS + _SCRIPTS + _EMOJI + _COMBINING + _WHITESPACE + _EDGES
)

# Texts also compared with BOS and EOS as the tokenizer adds them.
WITH_SPECIAL: tuple[str, ...] = ("", "Hello, world!", " Leading", "Zwei Zeilen\nText", "你好")

# Tokens per text once there are too many for a text each: llama.cpp looks for every special
# token in every text, so that its time grows with the square.
_TOKENS_PER_TEXT = 16
_MANY_TOKENS = 1500


def added_token_texts(tokens: Sequence[str]) -> Iterator[str]:
    """Yield texts that hold every added token, alone and between words.

    Beyond 1,500 tokens, tokens stand several to a text, still with and without words between.
    """
    if len(tokens) <= _MANY_TOKENS:
        for token in tokens:
            yield token
            yield f"Before {token} after.{token}\n{token}x"
        return
    for start in range(0, len(tokens), _TOKENS_PER_TEXT):
        part = tokens[start : start + _TOKENS_PER_TEXT]
        yield "".join(part)
        yield " and ".join(part) + "\n"


def all_texts(tokens: Sequence[str], extra: Iterable[str] = ()) -> list[str]:
    """Return the battery, then `extra`, then the texts of added tokens; no text twice."""
    return list(dict.fromkeys([*TEXTS, *extra, *added_token_texts(tokens)]))
