"""Tests of loragraft.training."""
