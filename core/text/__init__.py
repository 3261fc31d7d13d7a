"""Text: readers, cleaning, vocabulary, the corpus on disk, and the built-in grammar."""
