"""Duplicates: the same text, the same characters but for a few, the same meaning."""
