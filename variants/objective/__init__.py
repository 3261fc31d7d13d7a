"""The two losses of the game."""
