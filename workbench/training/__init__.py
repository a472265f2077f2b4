"""One training loop: runs that resume exactly where they were stopped, whatever they train."""
