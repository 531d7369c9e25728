"""Diagnosis: what a record shows, in sentences, each with a cure that changes one thing."""

from rungs.diagnose.rules import examine

__all__ = ["examine"]
