"""Data that a fine-tune and its judgement can stand on: collected, curated, split."""
