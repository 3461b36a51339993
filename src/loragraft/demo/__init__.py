"""The whole way on a real model: what ``loragraft demo`` does."""
