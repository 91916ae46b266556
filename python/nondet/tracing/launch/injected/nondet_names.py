"""Names of the variables of the environment that `nondet trace` hands down."""

FOLDER = "NONDET_TRACE"
OPTIONS = "NONDET_TRACE_OPTIONS"
ROLE = "NONDET_TRACE_ROLE"
