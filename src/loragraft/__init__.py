"""Carry a LoRA adapter from "I found or trained this" to a verified, served model."""

from __future__ import annotations

__version__ = "0.1.0"
