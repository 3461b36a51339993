"""Follow one conversation from the base to the server, and name the stage where it goes wrong."""
