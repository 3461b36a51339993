"""The vocabulary of a GGUF file, made from a Hugging Face tokenizer and checked against it.

`vocabulary` builds it, `pretokenizer` names llama.cpp's pre-tokenizer from the structure of
tokenizer.json, `parity` compares the token ids of the finished file with the original's.
"""
