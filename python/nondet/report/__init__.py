"""What a study says: summaries of its runs, as tables and plain sentences."""
