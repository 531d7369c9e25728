"""The learning-rate range test: `rungs lr-find`."""
