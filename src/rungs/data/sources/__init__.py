"""Where images come from: a file per source, each to a `Source`."""
