"""A robot that sees with a frozen model: demonstrations, a cloned policy, and its trials."""
