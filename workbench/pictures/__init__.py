"""Pictures of tokens: token maps of a store or of image files, and the page that shows them."""
