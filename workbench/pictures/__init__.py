"""What pictures of tokens are drawn from: maps of one store, or of images without a store."""
