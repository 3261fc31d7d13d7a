"""What asks for the next word."""
