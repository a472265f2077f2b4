"""Public datasets with masks or depth, in the folders in which they are published."""
