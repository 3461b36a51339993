"""Cut documents into chunks within an embedder's token budget."""
