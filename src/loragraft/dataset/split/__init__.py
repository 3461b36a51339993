"""Records divided into train, val and test: exactly, by strata, the same on every machine."""
