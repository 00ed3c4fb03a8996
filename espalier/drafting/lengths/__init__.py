"""Length policies: how far a draft grows."""
