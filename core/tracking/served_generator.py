"""The generator as MLflow serves it: a model from code, beside a folder of weights and settings.

The folder's `entry.json` names the function that loads it, so that nothing is unpickled and this
file needs to know no architecture.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ServedGenerator(PythonModel):  # type: ignore[misc]
    """Draws sentences: `n`, `temperature`, `seed` in; a column `text` out."""

    def load_context(self, context: Any) -> None:
        """Load the generator from the model's folder."""
        folder = Path(context.artifacts["folder"])
        entry = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        module = importlib.import_module(entry["module"])
        self.generator = getattr(module, entry["function"])(folder)

    # Unannotated: MLflow would take a type hint for the schema of the input.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Sentences; the input's content has no meaning."""
        asked = {"n": 20, "temperature": 1.0, "seed": 0, **(params or {})}
        sentences = self.generator.sample(
            n=int(asked["n"]), temperature=float(asked["temperature"]), seed=int(asked["seed"])
        )
        return pd.DataFrame({"text": sentences})


set_model(ServedGenerator())
