"""Objects that several tests need."""
