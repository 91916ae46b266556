"""The names a user can ask for, known without importing torch; a test checks the registries."""

DATASETS = ("digits",)
MODELS = ("linear", "hidden", "resnet14-w8")
