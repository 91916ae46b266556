"""Run the trainings of a study, and estimate their cost."""
