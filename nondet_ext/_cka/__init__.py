"""The steps of linear_cka and CKA (nondet_ext.cka)."""
