"""Results as text and files: JSON, Markdown, CSV and LaTeX, written here for every command."""
