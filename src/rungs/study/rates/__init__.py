"""The range test of learning rates: `rungs lr-find`."""
