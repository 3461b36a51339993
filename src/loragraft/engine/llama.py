"""Conversations on llama.cpp in this process: the embedded default, no server needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from loragraft.checkpoint.bundle import LocalModel
from loragraft.checkpoint.gguf_chat import ChatFacts, chat_facts
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.checkpoint.turn_ends import stop_tokens
from loragraft.engine.answer_text import AnswerText, ThinkingTags
from loragraft.engine.composition import compose, composes
from loragraft.engine.conversation import ChatTemplate, Literals, between_marks
from loragraft.engine.llama_answer import LlamaAnswer, Rule
from loragraft.engine.llama_check import check_loads
from loragraft.engine.llama_gpu import GpuLayers, choose_gpu_layers
from loragraft.engine.llama_memory import require_model_memory
from loragraft.engine.llama_model import LlamaModel
from loragraft.engine.protocol import Message, OnText, Reply, Sampling
from loragraft.errors import InputError, TemplateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 8192
"""Tokens, or the model's own maximum if that is smaller: fits a laptop, as the Modelfile has it."""

SENTENCEPIECE = "llama"
"""What GGUF files call a SentencePiece BPE tokenizer (``tokenizer.ggml.model``)."""


@dataclass(frozen=True)
class CheckedFile:
    """A file that llama.cpp was seen to load, and what is needed to talk with it.

    Attributes:
        facts: What it says of conversations.
        context: Tokens of the context to give it.
        template: Its chat template, if it has one.
        space_first: Whether its tokenizer puts a space in front of every text.
        composes: Whether the model's own tokenizer composes characters first.
        notes: What a user should know of it.
    """

    facts: ChatFacts
    context: int
    template: ChatTemplate | None
    space_first: bool
    composes: bool
    notes: tuple[str, ...]

    def prepare(self, text: str) -> str:
        """Return a text as the model's own tokenizer reads it, where llama.cpp's would not."""
        return compose(text, self._special) if self.composes else text

    @cached_property
    def _special(self) -> Literals:
        return Literals(self.facts.vocabulary[token] for token in self.facts.control)


def check_file(model: LocalModel, context: int | None) -> CheckedFile:
    """Read a file's header, ask for the memory it needs, and load it once in a child process.

    Args:
        model: As :func:`~loragraft.checkpoint.bundle.open_model` gives it.
        context: Tokens; None for the model's own maximum, at most 8,192.

    Raises:
        BundleError: If the file is broken or cannot be loaded.
        OutOfMemoryError: If the machine has too little memory.
        TemplateError: If its chat template is no Jinja.
    """
    with GgufFile(model.gguf) as file:
        facts = chat_facts(file)
        chosen = _choose_context(facts, context)
        require_model_memory(file, chosen)
        space_first, composed = _puts_space_first(file), composes(file, model.metadata)
    template = ChatTemplate(facts.template, facts.variables) if facts.template else None
    check_loads(model.gguf, chosen)
    notes = tuple(_notes(model.name, facts, context))
    return CheckedFile(facts, chosen, template, space_first, composed, notes)


def _choose_context(facts: ChatFacts, wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise InputError(f"The context is {wanted}; it must be 1 or more tokens.")
    return wanted or min(facts.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def _notes(name: str, facts: ChatFacts, wanted: int | None) -> Iterator[str]:
    trained = facts.context_length
    if wanted and trained and wanted > trained:
        yield (
            f"{name} was made for {trained} tokens of context; beyond them, of the {wanted} asked "
            "for, answers get worse."
        )
    if facts.template is None:
        yield (
            f"{name} has no chat template: it cannot chat, only continue a text. Export it from a "
            "checkpoint with a chat_template."
        )


class LlamaEngine:
    """A bundle's or bare file's model, answering in this process.

    Attributes:
        model: What was loaded.
        facts: What its file says of conversations.
        notes: What a user should know of it.
    """

    _too_long = "Choose a larger one (--context), or shorten the conversation (/reset begins anew)."

    def __init__(
        self,
        model: LocalModel,
        *,
        context: int | None = None,
        threads: int = 0,
        literal: bool = False,
        gpu_layers: int | None = 0,
    ) -> None:
        """Check the file, in a child process too, then load it.

        Args:
            model: As :func:`~loragraft.checkpoint.bundle.open_model` gives it.
            context: Tokens; None for the model's own maximum, at most 8,192.
            threads: 0 for all cores.
            literal: Whether control tokens' texts in messages stay texts. Without it the ids are
                exactly those of transformers, which takes them as control tokens.
            gpu_layers: Layers that a GPU computes; None for all, where there is one. The
                processor's numbers are the same on every machine.

        Raises:
            BundleError: If the file is broken or cannot be loaded.
            UnsupportedError: If it is no model that writes text.
            OutOfMemoryError: If the machine has too little memory.
            TemplateError: If its chat template is no Jinja.
        """
        self.model = model
        checked = check_file(model, context)
        self._checked = checked
        self.facts, self._context = checked.facts, checked.context
        self._template, self._space_first = checked.template, checked.space_first
        self.stops = stop_tokens(self.facts, model.stops)
        self._literal = literal
        layers = choose_gpu_layers(gpu_layers) if gpu_layers != 0 else GpuLayers(0)
        self._llama = self._load(threads, layers.count)
        self.notes = (*self.stops.warnings, *checked.notes, *filter(None, [layers.note]))

    def _load(self, threads: int, gpu_layers: int) -> LlamaModel:
        return LlamaModel(
            self.model.gguf, context=self._context, threads=threads, gpu_layers=gpu_layers
        )

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self.model.name

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        return self._context

    @property
    def thinks(self) -> bool:
        """Whether its template has a switch for thinking."""
        return bool(self._template and self._template.switches)

    @property
    def template(self) -> ChatTemplate:
        """The chat template.

        Raises:
            TemplateError: If the file has none.
        """
        if self._template is None:
            raise TemplateError(
                f"{self.model.gguf} has no chat template, so nobody knows how its training wrote "
                "a conversation. Add the chat_template to the checkpoint and export it again."
            )
        return self._template

    @cached_property
    def literals(self) -> Literals:
        """What finds control tokens' texts in messages."""
        controls = (token for token in self.facts.control if self._llama.is_control(token))
        return Literals(self.facts.vocabulary[token] for token in controls)

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Return the conversation as the model reads it, ending where the answer begins."""
        return self.template.render(messages, think=think)

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of :meth:`render`'s text, as the model is given them."""
        if not self._literal:
            return self._tokenize(self.render(messages, think=think))
        marked, marks = self.literals.replace(messages)
        return self._tokenize_marked(self.render(marked, think=think), marks)

    def _tokenize_marked(self, text: str, marks: dict[str, str]) -> list[int]:
        ids: list[int] = []
        for part, literal in between_marks(text, marks):
            if literal:
                ids += self._llama.tokenize(part, special=False)
            else:
                ids += self._tokenize(part)
        return ids

    def _tokenize(self, text: str) -> list[int]:
        return self._llama.tokenize(self._checked.prepare(text))

    def next_log_probs(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the log-probability of every token after these ids, shape [vocabulary]."""
        import numpy as np

        self._llama.read(ids, fresh=True)
        logits = self._llama.logits().astype(np.float64)
        logits -= logits.max()
        return np.asarray(logits - np.log(np.exp(logits).sum()), dtype=np.float32)

    def piece(self, token: int) -> bytes:
        """Return a token's bytes; a control token's are those of its text."""
        return self._llama.piece(token, special=True)

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> Reply:
        """Answer a conversation, reading only what is new of it.

        Raises:
            InputError: If the conversation does not fit into the context, or a setting is none.
            TemplateError: If the template refuses the messages.
        """
        ids = self._fitting_ids(messages, think)
        return self._answer(messages, sampling, think, on_text=on_text).make(ids)

    def _fitting_ids(self, messages: Sequence[Message], think: bool | None) -> list[int]:
        """Return a conversation's ids, if there are some and the context has room for an answer."""
        ids = self.prompt_ids(messages, think=think)
        if not ids:
            raise TemplateError("The chat template renders this conversation as an empty text.")
        if len(ids) >= self._context:
            raise InputError(
                f"The conversation has {len(ids)} tokens, and {self.name} was loaded with a "
                f"context of {self._context}. {self._too_long}"
            )
        return ids

    def _answer(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        think: bool | None,
        *,
        on_text: OnText | None = None,
        rule: Rule | None = None,
    ) -> LlamaAnswer:
        return LlamaAnswer(
            self._llama,
            sampling,
            self._text(messages, sampling, think),
            ends=frozenset(self.stops.ids),
            shown=self._tag_tokens,
            space_first=self._space_first,
            on_text=on_text,
            rule=rule,
        )

    def _text(
        self, messages: Sequence[Message], sampling: Sampling, think: bool | None
    ) -> AnswerText:
        begun = self.template.begins_thinking(self.render(messages, think=think))
        return AnswerText(sampling.stop, self._tags, begun=begun)

    @property
    def _tags(self) -> ThinkingTags | None:
        return self._template.tags if self._template else None

    @cached_property
    def _tag_tokens(self) -> frozenset[int]:
        """Tokens that are a thinking tag: shown even where they are control tokens."""
        tags = self._tags
        texts = (tags.opening, tags.closing) if tags else ()
        return frozenset(t for t in self.facts.control if self.facts.vocabulary[t] in texts)

    def close(self) -> None:
        """Free context and model."""
        self._llama.close()


def _puts_space_first(file: GgufFile) -> bool:
    """Whether the tokenizer puts a space in front of every text: SentencePiece's dummy prefix."""
    pieces = file.get("tokenizer.ggml.model") == SENTENCEPIECE
    return pieces and file.get("tokenizer.ggml.add_space_prefix", True) is not False
