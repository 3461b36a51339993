"""Chat templates for Ollama: derived from Jinja by behaviour, and compared before use."""

from loragraft.ollama.template.apart import translate
from loragraft.ollama.template.conversations import Conversation, conversations
from loragraft.ollama.template.go_render import render_go
from loragraft.ollama.template.translate import Case, Translation

__all__ = ["Case", "Conversation", "Translation", "conversations", "render_go", "translate"]
