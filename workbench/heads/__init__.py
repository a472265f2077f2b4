"""Decoders trained on frozen token maps: segmentation and depth at image resolution."""
