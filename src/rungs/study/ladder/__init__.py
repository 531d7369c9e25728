"""A ladder: a baseline and its named changes, trained with several seeds and compared."""
