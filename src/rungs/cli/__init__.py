"""The command line: flags, and handlers that hand over."""
