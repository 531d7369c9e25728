"""Studies: ladders of runs, and what their numbers can bear."""
