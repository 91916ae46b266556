"""Record what this process does: its operations, draws, batches and parameters, thread by thread.

`session` starts and stops a recording, `dispatch` sees the operations of torch.
"""
