"""Keep chunks and their vectors: built, updated, opened and verified."""
