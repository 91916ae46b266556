"""Small scripts whose two runs differ, each for one known cause, and how to run them."""
