"""Searches: many workers draw trials from one storage, then the best are retrained on fresh seeds."""
