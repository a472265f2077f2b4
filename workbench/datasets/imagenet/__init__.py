"""Test sets for classifiers of ImageNet-1k: ReaL, -v2, -R, -A and ObjectNet."""
