"""Errors about settings, which name the setting."""

from typing import Self


class SettingError(ValueError):
    """A setting has a value that it cannot have, alone or beside another setting.

    Attributes:
        fields: Dotted names of the settings concerned, the one to blame first:
            "lr", "perturbation.step", "onset.shuffle", "language.hidden".
        row: The name of the row that was checked; None outside rows.
        model: The model whose configuration was checked; None outside configurations.
    """

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields
        self.row: str | None = None
        self.model: str | None = None

    @property
    def field(self) -> str:
        """The dotted name of the setting to blame."""
        return self.fields[0]

    def prefixed(self, prefix: str) -> Self:
        """Return the same error with a text before its message."""
        error = type(self)(f"{prefix}{self}", *self.fields)
        error.row, error.model = self.row, self.model
        return error


class SettingTypeError(SettingError, TypeError):
    """A setting has a value of a wrong type."""
