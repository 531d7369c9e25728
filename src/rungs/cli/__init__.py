"""The command line: flags and thin handlers."""
