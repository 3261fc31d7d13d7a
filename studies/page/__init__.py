"""A study's report for people: sections to one HTML page, to Markdown, and to figures beside."""
