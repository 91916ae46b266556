"""Run the trainings of a study: what is still to do, in which order, and where."""
