"""Why does an adapter do nothing, or not what it should: five tests and a diagnosis."""
