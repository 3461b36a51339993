"""The tests, by room; a package, so that no installed package named `tests` goes before it."""
