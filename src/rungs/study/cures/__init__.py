"""Diagnose a run, and measure what the cures of its findings gain: `rungs diagnose --try`."""
