"""Building blocks: attention, transformer layers, words as D sees them."""
