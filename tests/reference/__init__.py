"""Plain definitions that the fast paths are held against."""
