"""Building blocks: attention with a key/value cache, transformer layers, words as D sees them."""
