"""What is installed, what is reachable, what would be faster, and what of ours can go."""
