"""Searches: trials taken from one storage by many workers, then the best of them on fresh seeds."""
