"""Reads a study from a TOML file, whose keys are the fields of `Study`, `Preset` and `Row`.

Errors name the file, the line and what is allowed.
"""

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from nondet.characters import check_name
from nondet.names import VIEWS, check_dataset, check_model, check_view, hint
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.row import KEEPS, Row
from nondet.studies.seeds import SOURCES, Onset
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.study import Preset, Study
from nondet.studies.toml.checks import Checks, Table, dotted
from nondet.studies.toml.lines import KeyPath

_LONG_NUMBER = re.compile("[0-9_]{1000,}")


def _names_of(settings: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(settings))


STUDY_KEYS = ("name", "title", "shows", "source", "views", "baseline", "preset", "row")
PRESET_KEYS = ("runs", "models", "settings", "model_settings", "keep", "row")
ROW_KEYS = _names_of(Row)
# A preset has a list of models instead of a model.
_SETTINGS = tuple(name for name in _names_of(RunConfig) if name != "model")
_REQUIRED = tuple(
    field.name
    for field in fields(RunConfig)
    if field.name in _SETTINGS and field.default is MISSING and field.default_factory is MISSING
)


def read_toml_study(path: Path) -> Study:
    """Return the study in a TOML file.

    Raises ValueError for a file that is no study, SettingError (a ValueError) for a wrong setting,
    OSError if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = _parse(path, text)
        return _Reader(path, text).study(table)
    except RecursionError:
        raise ValueError(f"{path} is no study: its values are nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from None


def _parse(path: Path, text: str) -> Table:
    """Return the table of a TOML text; raise ValueError with the line of what is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = place or "somewhere"
        if place == "end of document":
            line = f"line {text.count(chr(10)) + 1} (the end)"
        raise ValueError(f"{path}, {line}: no TOML: {reason or error}") from None
    except ValueError as error:  # Python refuses to read integers of more than 4,300 digits
        long = _LONG_NUMBER.search(text)
        place = f", line {text.count(chr(10), 0, long.start()) + 1}" if long else ""
        raise ValueError(f"{path}{place}: a number that cannot be read: {error}") from None


class _Reader(Checks):
    """Builds a study from the tables of a file."""

    def study(self, table: Table) -> Study:
        """Return the study of the table of the whole file."""
        self.known((), table, STUDY_KEYS)
        name = self.text((), table, "name")
        if not re.fullmatch(r"[\w.-]*\w", name) or name.startswith("."):
            self.fail(
                ("name",),
                f"name is {name!r}; it names a folder: letters, digits, '_', '-' and '.' alone",
            )
        presets = self.table((), table, "preset")
        for key in presets or {}:
            try:
                check_name("the name of a preset", key)
            except ValueError as error:
                self.fail(("preset", key), str(error))
        if presets is None or not presets:
            self.fail(("preset",), "there is no [preset.NAME], such as [preset.laptop]")
        views = self.names((), table, "views", VIEWS, check_view)
        rows = self._rows(("row",), table.get("row", []))
        study = Study(
            name=name,
            title=self.text((), table, "title", name),
            shows=self.text((), table, "shows", ""),
            source=self.text((), table, "source", str(self.file.name)),
            views=views or ("spread",),
            baseline=self.text((), table, "baseline") if "baseline" in table else None,
            rows=rows,
            presets={key: self._preset(("preset", key), preset) for key, preset in presets.items()},
        )
        for key, preset in study.presets.items():
            self._check_plan(study, key, preset)
        return study

    # -- tables --------------------------------------------------------------------------------

    def _preset(self, path: KeyPath, table: Any) -> Preset:
        self.is_table(path, table)
        self.known(path, table, PRESET_KEYS)
        settings = self._settings((*path, "settings"), table.get("settings", {}))
        by_model = self.table(path, table, "model_settings") or {}
        models = self.names(path, table, "models", (), check_model)
        if not models:
            self.fail((*path, "models"), f"{dotted(path)} names no models")
        for model in by_model:
            if model not in models:
                self.fail(
                    (*path, "model_settings", model),
                    f"model_settings are for {model!r}; {hint(model, models)}models of this "
                    f"preset: {', '.join(models)}",
                )
        model_settings = {
            model: self._settings((*path, "model_settings", model), values)
            for model, values in by_model.items()
        }
        for name in _REQUIRED:
            if name not in settings and not all(
                name in model_settings.get(model, {}) for model in models
            ):
                self.fail(
                    (*path, "settings"),
                    f"{dotted(path)}.settings lacks {name!r}, which every training needs",
                )
        return Preset(
            runs=self.integer(path, table, "runs", 2),
            models=models,
            settings=settings,
            model_settings=model_settings,
            rows=self._rows((*path, "row"), table["row"]) if "row" in table else None,
            keep=self.names(path, table, "keep", KEEPS),  # type: ignore[arg-type]
        )

    def _rows(self, path: KeyPath, tables: Any) -> tuple[Row, ...]:
        if not isinstance(tables, list):
            self.fail(
                path, f"{dotted(path)} is no list of rows; begin each with [[{dotted(path)}]]"
            )
        return tuple(self._row((*path, i), table) for i, table in enumerate(tables))

    def _row(self, path: KeyPath, table: Any) -> Row:
        self.is_table(path, table)
        self.known(path, table, ROW_KEYS)
        values: dict[str, Any] = {
            "name": self.text(path, table, "name"),
            "varies": self.names(path, table, "varies", SOURCES),
            "settings": self._settings((*path, "settings"), table.get("settings", {})),
            "keep": self.names(path, table, "keep", KEEPS),
            "models": self.names(path, table, "models", (), check_model),
        }
        values |= {name: table[name] for name in ("design", "levels", "runs") if name in table}
        if "output" in table:
            values["output"] = self.text(path, table, "output")
        onsets = self.table(path, table, "onset") or {}
        self.known((*path, "onset"), onsets, _names_of(Onset))
        try:
            return Row(**values, onset=Onset(**onsets))
        except SettingError as error:
            self.blame(self._given(error, [(*path, "settings"), path]) or path, error)

    def _settings(self, path: KeyPath, table: Any) -> dict[str, Any]:
        self.is_table(path, table)
        self.known(path, table, _SETTINGS)
        settings = {}
        for name, value in table.items():
            place = (*path, name)
            if name == "perturbation":
                settings[name] = self._perturbation(place, value)
            elif name == "language":
                settings |= self._group(place, name, LanguageSpec, value)
            else:
                settings[name] = self.setting(place, name, value)
            if name == "dataset":
                try:
                    check_dataset(value)
                except ValueError as error:
                    self.blame(place, SettingError(str(error), name))
        return settings

    def _perturbation(self, path: KeyPath, table: Any) -> PerturbationSpec:
        values = self._group(path, "perturbation", PerturbationSpec, table)
        try:
            return PerturbationSpec(
                **{name.removeprefix("perturbation."): value for name, value in values.items()}
            )
        except SettingError as error:
            self.blame(self._given(error, [path[:-1]]) or path, error)

    def _group(self, path: KeyPath, group: str, spec: type, table: Any) -> dict[str, Any]:
        """Return the settings of a group by their dotted names."""
        self.is_table(path, table)
        self.known(path, table, _names_of(spec))
        return {
            f"{group}.{name}": self.setting((*path, name), f"{group}.{name}", value)
            for name, value in table.items()
        }

    # -- the whole -----------------------------------------------------------------------------

    def _check_plan(self, study: Study, key: str, preset: Preset) -> None:
        """Check that the values of a preset and its rows fit together."""
        path: KeyPath = ("preset", key)
        rows, rows_path = (
            (study.rows, ("row",)) if preset.rows is None else (preset.rows, (*path, "row"))
        )
        if not rows:
            self.fail(path, f"there is no row; begin each with [[{dotted(rows_path)}]]")
        try:
            study.plan(key)
        except SettingError as error:
            tables: list[KeyPath] = [(*path, "settings"), path, ()]
            if error.model is not None:
                tables.insert(0, (*path, "model_settings", error.model))
            default = path
            if error.row is not None:
                number = max(i for i, row in enumerate(rows) if row.name == error.row)
                default = (*rows_path, number)
                tables = [(*default, "settings"), default, *tables]
            self.blame(self._given(error, tables) or default, error)

    def _given(self, error: SettingError, tables: list[KeyPath]) -> KeyPath | None:
        """Return the place of the first setting of an error that one of the tables has."""
        for name in error.fields:
            for table in tables:
                place = (*table, *name.split("."))
                if place in self.lines:
                    return place
        return None
