"""What a run shows, and what the cures of its findings buy when they are tried: `rungs diagnose --try`."""
