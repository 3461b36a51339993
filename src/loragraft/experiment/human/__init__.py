"""Pairs of answers compared by people who cannot know whose they are."""
