"""How each kind of record is asked, and how its answer is read."""
