"""Cross-validation: a net for each fold, tested on it, and a final net that is trained on all images."""
