"""The command line: one module per group, imported when it is used."""
