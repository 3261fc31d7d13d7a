"""Terms added to D's loss."""
