"""Talk with one model or two in the terminal."""
