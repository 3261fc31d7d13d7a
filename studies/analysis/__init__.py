"""What a study's results say, one file a question; each makes sections of the report."""
