"""What an experiment does with a record: what it asks, and what it reads from the answer."""
