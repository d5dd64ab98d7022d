"""A LightGBM text model behind the C functions made for one row at a time.

The library is loaded from the installed ``lightgbm`` wheel without importing the Python package, which would bring
pandas and scikit-learn into a serving process where they are installed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit301.errors import ModelError

FloatArray = NDArray[np.float64]

_FLOAT64 = 1
_RAW_SCORE = 1
_CONTRIBUTIONS = 3
_NAMES = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("LightGBM is not installed.", hint="Install the project's locked dependencies.")
    root = Path(spec.submodule_search_locations[0])
    for folder in (root / "lib", root, root / "bin"):
        for name in _NAMES:
            if (folder / name).is_file():
                library = ctypes.CDLL(str(folder / name))
                library.LGBM_GetLastError.restype = ctypes.c_char_p
                return library
    raise ModelError("The installed LightGBM has no shared library.", hint="Install LightGBM from its wheel.")


def _call(function: str, *arguments: Any) -> None:
    library = _library()
    if getattr(library, function)(*arguments) != 0:
        reason = library.LGBM_GetLastError().decode("utf-8", "replace")
        raise ModelError(f"LightGBM refused {function.removeprefix('LGBM_Booster')}: {reason}.")


class _Row:
    """One prepared single-row call: fixed input and output buffers, so that a call allocates nothing."""

    def __init__(self, booster: ctypes.c_void_p, kind: int, columns: int, width: int) -> None:
        self.input = np.empty(columns, dtype=np.float64)
        self.output = np.empty(width, dtype=np.float64)
        self._config = ctypes.c_void_p()
        _call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            booster,
            ctypes.c_int(kind),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(columns),
            b"num_threads=1",
            ctypes.byref(self._config),
        )
        self._length = ctypes.c_int64()
        self._function = _library().LGBM_BoosterPredictForMatSingleRowFast
        self._arguments = (
            self._config,
            ctypes.c_void_p(self.input.ctypes.data),
            ctypes.byref(self._length),
            ctypes.c_void_p(self.output.ctypes.data),
        )

    def run(self, row: FloatArray) -> None:
        self.input[:] = row
        if self._function(*self._arguments) != 0:
            raise ModelError(f"LightGBM failed: {_library().LGBM_GetLastError().decode('utf-8', 'replace')}.")

    def close(self) -> None:
        _library().LGBM_FastConfigFree(self._config)


class Booster:
    """A trained binary LightGBM model, loaded from its text form. Safe to use from several threads.

    Args:
        text: what ``lightgbm.Booster.model_to_string`` wrote.
        columns: number of features it must have.

    Raises:
        ModelError: the text is not a model, or has another number of features or outputs.
    """

    def __init__(self, text: str, columns: int) -> None:
        self._handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        # LightGBM aborts the process on some texts that are not models: look at the first line before it does.
        if not text.startswith("tree\n"):
            raise ModelError("The file is not a LightGBM text model.", hint="Write it with Booster.model_to_string().")
        _call(
            "LGBM_BoosterLoadModelFromString",
            text.encode("utf-8"),
            ctypes.byref(iterations),
            ctypes.byref(self._handle),
        )
        self._rows: list[_Row] = []
        found = self._integer("LGBM_BoosterGetNumFeature")
        outputs = self._integer("LGBM_BoosterGetNumClasses")
        if found != columns or outputs != 1:
            raise ModelError(
                f"The model has {found} features and {outputs} output(s); the manifest says {columns} features and 1."
            )
        self.columns = columns
        self._raw = _Row(self._handle, _RAW_SCORE, columns, 1)
        self._contributions = _Row(self._handle, _CONTRIBUTIONS, columns, columns + 1)
        self._rows += [self._raw, self._contributions]
        self._lock = threading.Lock()

    def raw(self, row: FloatArray) -> float:
        """Raw score (log-odds) of one row, shape (columns,); NaN is a missing value."""
        with self._lock:
            self._raw.run(row)
            return float(self._raw.output[0])

    def contributions(self, row: FloatArray) -> FloatArray:
        """TreeSHAP contributions of one row in log-odds, shape (columns + 1,): features, then the expected value.

        They sum to :meth:`raw`. Method: Lundberg, Erion, Lee (2018), "Consistent individualized feature attribution
        for tree ensembles", as LightGBM's ``pred_contrib``.
        """
        with self._lock:
            self._contributions.run(row)
            return self._contributions.output.copy()

    def raw_batch(self, matrix: FloatArray, threads: int = 1) -> FloatArray:
        """Raw scores of ``matrix``, shape (rows, columns); result shape (rows,)."""
        return self._batch(matrix, _RAW_SCORE, 1, threads)[:, 0]

    def contributions_batch(self, matrix: FloatArray, threads: int = 1) -> FloatArray:
        """Contributions as :meth:`contributions`, shape (rows, columns + 1)."""
        return self._batch(matrix, _CONTRIBUTIONS, self.columns + 1, threads)

    def _batch(
        self, matrix: FloatArray, kind: int, width: int, threads: int, *, first: int = 0, count: int = -1
    ) -> FloatArray:
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        result = np.empty((len(matrix), width), dtype=np.float64)
        if not len(matrix):
            return result
        length = ctypes.c_int64()
        _call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            ctypes.c_void_p(matrix.ctypes.data),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(len(matrix)),
            ctypes.c_int32(self.columns),
            ctypes.c_int(1),
            ctypes.c_int(kind),
            ctypes.c_int(first),
            ctypes.c_int(count),
            f"num_threads={threads}".encode("ascii"),
            ctypes.byref(length),
            ctypes.c_void_p(result.ctypes.data),
        )
        return result

    def _integer(self, function: str) -> int:
        value = ctypes.c_int()
        _call(function, self._handle, ctypes.byref(value))
        return value.value

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            for row in getattr(self, "_rows", []):
                row.close()
            _library().LGBM_BoosterFree(self._handle)


class TreeByTree(Booster):
    """A model that is asked about its trees one by one.

    LightGBM keeps which trees were asked for in the model itself: the answers of :class:`Booster` about whole rows are
    wrong here.
    """

    def raw_of(self, tree: int, matrix: FloatArray) -> FloatArray:
        """What one tree adds to :meth:`raw_batch`, shape (rows,)."""
        return self._batch(matrix, _RAW_SCORE, 1, 1, first=tree, count=1)[:, 0]

    def contributions_of(self, tree: int, matrix: FloatArray) -> FloatArray:
        """What one tree adds to :meth:`contributions_batch`, shape (rows, columns + 1)."""
        return self._batch(matrix, _CONTRIBUTIONS, self.columns + 1, 1, first=tree, count=1)
