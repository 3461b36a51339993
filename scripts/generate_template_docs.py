"""Write docs/templates.md: how each known chat template comes out of the translation.

python scripts/generate_template_docs.py           # writes
python scripts/generate_template_docs.py --check   # fails where the file is out of date

The templates are those of llama.cpp's source, downloaded once, and the test fixtures.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loragraft.errors import TemplateError
from loragraft.ollama.template.conversations import CONVERSATIONS
from loragraft.ollama.template.translate import Translation, translate_here

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "templates.md"
FIXTURES = ROOT / "tests" / "ollama" / "template" / "fixtures"
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
HEADER = """# Chat templates in Ollama

Written by `scripts/generate_template_docs.py`; do not edit.

Ollama's templates are Go templates, checkpoints carry Jinja. loragraft derives one from the other
by behaviour: it renders conversations of placeholder words with the Jinja template, learns the text
between them and what it depends on (the roles before and after, a system message, the first and
last question, thinking), what is cut off contents, dates and default system messages, and writes
that as a Go template. Then both render {count} other conversations, and the texts are compared.

- **equal**: conversations that Jinja takes and that Ollama hands to the template as they are; for
  templates that know thinking, each without a wish, with thinking on and off.
- Ollama joins adjacent messages of one role with a blank line before any template sees them, so
  {joined} of the conversations ({names}) are not expected to be equal, and not counted.
- What Jinja refuses is rendered all the same, since Ollama sends such orders when it cuts long
  conversations: nearest to what the template does elsewhere.
- Tools and documents are not translated. `loragraft` says so, with the text that is missing,
  wherever a template knows them.
- Fixtures are templates of ours, of the behaviour of the family they are named after.
"""


def rows(folder: Path) -> Iterator[str]:
    """Yield a table's rows for the templates of a folder."""
    yield "| template | equal | what differs |"
    yield "|---|---|---|"
    for path in sorted(folder.glob("*.jinja"), key=lambda path: path.stem.lower()):
        try:
            found = translate_here(path.read_text(encoding="utf-8"), variables=VARIABLES)
        except TemplateError as error:
            yield f"| {path.stem} | none | refused: {_cell(str(error))} |"
            continue
        yield f"| {path.stem} | {_equal(found)} | {_cell(_differs(found))} |"


def _equal(found: Translation) -> str:
    counted = [case for case in found.cases if case.jinja is not None and not case.joined]
    return f"{sum(case.same for case in counted)}/{len(counted)}"


def _differs(found: Translation) -> str:
    """Return the notes that are about this template alone."""
    parts = [note for note in found.notes if note.startswith("differs (")]
    if any(note.startswith("tools are") for note in found.notes):
        parts.append("tools.")
    parts += [note for note in found.notes if note.startswith(("the chat template renders no",))]
    parts += [note for note in found.notes if "cannot be had" in note]
    refused = [case.name for case in found.cases if case.jinja is None and not case.think]
    if refused:
        names = dict.fromkeys(name.split(", think ")[0] for name in refused)
        parts.append(f"Jinja refuses: {', '.join(names)}.")
    return " ".join(parts)


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return escaped or "nothing"


def document() -> str:
    """Return the whole page."""
    sys.path.insert(0, str(ROOT))
    from tests.support.sources import llama_cpp_source

    joined = [item.name for item in CONVERSATIONS if item.joined]
    count = len(CONVERSATIONS)
    header = HEADER.format(count=count, joined=len(joined), names=", ".join(joined))
    real = "\n".join(rows(llama_cpp_source() / "models" / "templates"))
    ours = "\n".join(rows(FIXTURES))
    return f"{header}\n## Fixtures\n\n{ours}\n\n## Templates in llama.cpp's source\n\n{real}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    wanted = document()
    found = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
    if not options.check:
        TARGET.write_text(wanted, encoding="utf-8")
        return 0
    if found == wanted:
        return 0
    changes = difflib.unified_diff(
        found.splitlines(),
        wanted.splitlines(),
        "docs/templates.md",
        "the translations",
        lineterm="",
    )
    print("\n".join(changes), file=sys.stderr)
    print(
        "docs/templates.md is out of date. Run: python scripts/generate_template_docs.py",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
