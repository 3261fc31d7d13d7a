"""What backs every speed claim; `make bench` runs it."""
