"""Find where two runs of a script part: record what a run did, compare two records, name causes."""
