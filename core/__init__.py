"""The core model and what every variant shares. Imports nothing else of ours."""
