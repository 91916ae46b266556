"""Run a command unedited, with the recorder in each of its Python processes that imports torch.

The files of `injected/` run in these processes: they are no package, PYTHONPATH names their folder.
"""
