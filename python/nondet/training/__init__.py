"""One training, from its first draw to its result.

Import from the modules: a package that names torch's users here would load torch with all of them.
"""
