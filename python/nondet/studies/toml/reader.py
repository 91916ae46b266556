"""Studies of one's own in TOML: the fields of `Study`, `Preset` and `Row` by their names.

Whatever is wrong is said with the file, the line and what is allowed instead.
"""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from nondet.names import VIEWS, check_dataset, check_model, check_view
from nondet.studies.config import LanguageSpec, PerturbationSpec, RunConfig
from nondet.studies.row import KEEPS, MODELS_OF, TTA, Design, Row
from nondet.studies.seeds import SOURCES, Onset
from nondet.studies.study import Preset, Study
from nondet.studies.toml.checks import Checks, Table, dotted
from nondet.studies.toml.lines import KeyPath

_TOP = ("name", "title", "shows", "source", "views", "baseline", "preset", "row")
_PRESET = ("runs", "models", "settings", "model_settings", "keep", "row")
_ROW = tuple(one.name for one in fields(Row))
_OUTPUTS = (*MODELS_OF, *(f"{of}/{scheme}" for of in MODELS_OF for scheme in TTA))
# The models of a preset are a list of their own.
_SETTINGS = tuple(one.name for one in fields(RunConfig) if one.name != "model")
_CHANGE = tuple(one.name for one in fields(PerturbationSpec))
_LANGUAGE = tuple(one.name for one in fields(LanguageSpec))
_ONSETS = tuple(one.name for one in fields(Onset))


def read_toml_study(path: Path) -> Study:
    """The study in a TOML file. Raises ValueError for one that is wrong, OSError where it cannot be
    read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = place or "somewhere"
        if place == "end of document":
            line = f"line {text.count(chr(10)) + 1} (the end)"
        raise ValueError(f"{path}, {line}: no TOML: {reason or error}") from None
    return _Reader(path, text).study(table)


class _Reader(Checks):
    def study(self, table: Table) -> Study:
        self.known((), table, _TOP)
        name = self.text((), table, "name")
        if not re.fullmatch(r"[\w.-]*\w", name) or name.startswith("."):
            self.fail(
                ("name",),
                f"name is {name!r}; it names a folder: letters, digits, '_', '-' and '.' alone",
            )
        presets = self.table((), table, "preset")
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
            presets={key: self._preset(("preset", key), one) for key, one in presets.items()},
        )
        for key, preset in study.presets.items():
            self._check_plan(study, key, preset)
        return study

    # -- tables --------------------------------------------------------------------------------

    def _preset(self, path: KeyPath, table: Any) -> Preset:
        self.is_table(path, table)
        self.known(path, table, _PRESET)
        settings = self._settings((*path, "settings"), table.get("settings", {}))
        every = self.table(path, table, "model_settings") or {}
        models = self.names(path, table, "models", (), check_model)
        if not models:
            self.fail((*path, "models"), f"{dotted(path)} names no models")
        for model in every:
            if model not in models:
                self.fail(
                    (*path, "model_settings", model),
                    f"model_settings are for {model!r}; models of this preset: {', '.join(models)}",
                )
        required = ("dataset", "epochs", "batch_size", "lr")
        model_settings = {
            model: self._settings((*path, "model_settings", model), one)
            for model, one in every.items()
        }
        for name in required:
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
        return tuple(self._row((*path, i), one) for i, one in enumerate(tables))

    def _row(self, path: KeyPath, table: Any) -> Row:
        self.is_table(path, table)
        self.known(path, table, _ROW)
        onsets = self.table(path, table, "onset") or {}
        self.known((*path, "onset"), onsets, _ONSETS)
        read: dict[str, Any] = {
            "name": self.text(path, table, "name"),
            "varies": self.names(path, table, "varies", SOURCES),
            "settings": self._settings((*path, "settings"), table.get("settings", {})),
            "keep": self.names(path, table, "keep", KEEPS),
            "models": self.names(path, table, "models", (), check_model),
            "onset": Onset(
                **{name: self.integer((*path, "onset"), onsets, name, 0) for name in onsets}
            ),
        }
        if "output" in table:
            read["output"] = self.one_of(path, table, "output", _OUTPUTS)
        if "design" in table:
            read["design"] = self.one_of(path, table, "design", get_args(Design))
        for name in ("levels", "runs"):
            if name in table:
                read[name] = self.integer(path, table, name, 2)
        try:
            return Row(**read)
        except ValueError as error:
            self.fail(path, str(error))

    def _settings(self, path: KeyPath, table: Any) -> dict[str, Any]:
        self.is_table(path, table)
        self.known(path, table, _SETTINGS)
        settings = {}
        for name, value in table.items():
            if name == "perturbation":
                settings[name] = self._change((*path, name), value)
            elif name == "language":
                settings |= self._language((*path, name), value)
            else:
                settings[name] = self.converted((*path, name), name, value)
            if name == "dataset":
                self.checked((*path, name), check_dataset, value)
        return settings

    def _change(self, path: KeyPath, table: Any) -> PerturbationSpec:
        self.is_table(path, table)
        self.known(path, table, _CHANGE)
        values = {
            name: self.converted((*path, name), f"perturbation.{name}", value)
            for name, value in table.items()
        }
        try:
            return PerturbationSpec(**values)
        except ValueError as error:
            self.fail(path, str(error))

    def _language(self, path: KeyPath, table: Any) -> dict[str, Any]:
        self.is_table(path, table)
        self.known(path, table, _LANGUAGE)
        return {
            f"language.{name}": self.converted((*path, name), f"language.{name}", value)
            for name, value in table.items()
        }

    # -- the whole -----------------------------------------------------------------------------

    def _check_plan(self, study: Study, key: str, preset: Preset) -> None:
        """Whether values that are right one by one fit together; a fault is put on the line of the
        setting that the message names.
        """
        path: KeyPath = ("preset", key)
        rows, place = (
            (study.rows, ("row",)) if preset.rows is None else (preset.rows, (*path, "row"))
        )
        if not rows:
            self.fail(path, f"there is no row; begin each with [[{dotted(place)}]]")
        try:
            study.plan(key)
        except (TypeError, ValueError) as error:
            where = self._blamed(str(error), path, preset, rows, place)
            self.fail(where, str(error))

    def _blamed(
        self, message: str, path: KeyPath, preset: Preset, rows: tuple[Row, ...], place: KeyPath
    ) -> KeyPath:
        if message.startswith("baseline"):
            return ("baseline",)
        named = [i for i, row in enumerate(rows) if repr(row.name) in message]
        row: KeyPath = (*place, named[-1]) if named else ()
        words = re.findall(r"\w+", message.partition("': ")[2] if named else message)
        candidates: list[KeyPath] = []
        for word in words:
            if row:
                candidates += [(*row, "settings", word), (*row, "onset", word), (*row, word)]
            candidates += [
                *((*path, "model_settings", model, word) for model in preset.models),
                (*path, "settings", word),
                (*path, word),
            ]
        return next((one for one in candidates if one in self.lines), row or path)
