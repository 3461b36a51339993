"""Embed texts: sentence-transformers, static models, or an endpoint; adapters included."""
