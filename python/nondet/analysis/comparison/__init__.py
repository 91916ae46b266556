"""Say whether one method is better than another, from the scores of repeated runs."""
