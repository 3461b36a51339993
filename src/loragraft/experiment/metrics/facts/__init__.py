"""Whether an answer says what an accepted answer says: numbers, units, yes or no, names."""
