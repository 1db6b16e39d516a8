"""Results of long studies: one JSON file each, with everything needed to run it again."""

from __future__ import annotations

import json
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

from kdlab.experiments import Comparison

__all__ = ["RESULTS", "load_results", "save_results"]


def _results_folder() -> Path:
    """data/results of a checkout, or the copy inside an installed wheel."""
    checkout = Path(__file__).resolve().parents[2] / "data" / "results"
    return checkout if checkout.is_dir() else Path(__file__).resolve().parents[1] / "_results"


RESULTS = _results_folder()


def save_results(
    name: str, comparisons: dict[str, Comparison], command: str, *, tables: dict[str, Any] | None = None
) -> Path:
    """Write the comparisons of a study, with versions, machine, command and date, to ``data/results/name.json``.

    ``tables`` are measured numbers that are no comparison over seeds, such as bytes; they come back in the record.
    """
    import sklearn
    import torch

    record = {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s), CPU",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "sklearn": sklearn.__version__,
        },
        "comparisons": {key: comparison.as_dict() for key, comparison in comparisons.items()},
        **({"tables": tables} if tables else {}),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}", file=sys.stderr)
    return path


def load_results(name: str) -> tuple[dict[str, Comparison], dict[str, Any]]:
    """The comparisons of a study and the record of how they were made.

    Raises:
        FileNotFoundError: no study of that name; the message lists those there are.
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RESULTS.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no results named {name!r}; there are: {known}")
    record = json.loads(path.read_text(encoding="utf-8"))
    comparisons = {key: Comparison.from_dict(value) for key, value in record.pop("comparisons").items()}
    return comparisons, record
