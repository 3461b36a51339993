"""Weights to GGUF bytes: ggml's own kernels, and faster ones of ours that give the same bytes.

`ggml` binds the library inside llama-cpp-python, `q4_k`, `q5_k` and `q6_k` are our encoders and
`kernels` decides which of them runs. Nothing here is imported before it is used: numba alone
costs a third of a second.
"""
