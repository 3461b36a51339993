"""Ollama: Modelfiles, registration with proof, and what is registered."""
