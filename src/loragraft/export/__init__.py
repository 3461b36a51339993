"""From a base checkpoint and an adapter to a quantized GGUF bundle."""
