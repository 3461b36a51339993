"""Generate text: llama.cpp in this process, Ollama, transformers."""
