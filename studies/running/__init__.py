"""A study under way: its queue, who takes jobs from it, and how far it is."""
