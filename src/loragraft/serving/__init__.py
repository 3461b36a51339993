"""Serve a model to other programs by an OpenAI-compatible endpoint."""
