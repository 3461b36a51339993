"""Answer with citations: passages fitted into a prompt, citations read back."""
