"""The steps of nondet_ext.linear_cka and nondet_ext.CKA."""
