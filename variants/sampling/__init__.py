"""How a word is selected, what D sees of it, what the next step is fed."""
