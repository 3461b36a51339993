"""Pairs of answers judged: by a model, in both orders, and by people."""
