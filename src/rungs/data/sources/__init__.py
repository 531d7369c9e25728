"""The data sources: one file each, each returns a `Source`."""
