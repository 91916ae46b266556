"""What turns gradients into weights: rates, optimizers, averages of weights, offsets of weights."""
