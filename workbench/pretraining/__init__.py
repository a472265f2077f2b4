"""Pre-training of vision transformers, at one scale or with S2."""
