"""Whether an experiment is promoted, and where that is written down."""
