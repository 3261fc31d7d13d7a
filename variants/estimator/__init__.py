"""From D's verdict to a gradient for G."""
