"""Checkpoints as they lie on disk: tensors, configuration, tokenizer and chat template."""
