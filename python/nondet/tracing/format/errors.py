"""The error about a trace."""

from pathlib import Path


class TraceError(Exception):
    """A trace cannot be read as asked.

    Attributes:
        path: The file or folder that is wrong.
        problem: What is wrong with it.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = Path(path), problem

    def __reduce__(self) -> tuple[type["TraceError"], tuple[Path, str]]:
        return type(self), (self.path, self.problem)
