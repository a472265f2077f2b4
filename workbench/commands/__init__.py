"""One module per command; imports that need torch or matplotlib wait until it runs."""
