"""Adapters: where they lie, what their files say, and whether the two agree."""
