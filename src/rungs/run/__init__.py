"""What a training leaves: its record, its folder, the log of looks at the test set."""
