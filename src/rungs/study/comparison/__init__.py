"""Comparisons: recipes side by side, by the images and by the seeds."""
