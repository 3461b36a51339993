"""Passages for a question: by meaning, by words, by both; filtered and reranked."""
