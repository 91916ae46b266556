"""Reports on the comparison of two methods, and on the number of runs that one needs."""
