"""The generator as MLflow serves it: a model from code, with a folder of weights and settings.

The folder's `entry.json` names the loader, so that nothing is unpickled and this file needs to know
no architecture. A folder may come from anybody, so only loaders known here are taken: our own, and
those that an installed package registers under the entry-point group `textgan.loaders`.
"""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.faults import first_fault
from core.numbers import MAX_TEMPERATURE, MIN_TEMPERATURE

OWN = EntryPoint("textgan", "experiments.generate:load_generator", "textgan.loaders")


class Request(BaseModel):
    """The parameters of one request; other columns are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    n: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    temperature: Annotated[float, Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class ServedGenerator(PythonModel):  # type: ignore[misc]
    """Draws sentences: `n`, `temperature`, `seed` in; a column `text` out."""

    def load_context(self, context: Any) -> None:
        """Load the generator from the model's folder."""
        folder = Path(context.artifacts["folder"])
        entry = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        wanted = f"{entry['module']}:{entry['function']}"
        for loader in (OWN, *entry_points(group=OWN.group)):
            if loader.value == wanted:
                self.generator = loader.load()(folder)
                return
        raise ValueError(f"{folder}: wants to be loaded by {wanted}, which is not installed here")

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Sentences for the requests: the rows of `model_input`, with defaults from `params`.
        MlflowException (status 400 over HTTP) for an invalid request.
        """
        rows = pd.DataFrame(model_input).to_dict("records") or [{}]
        sentences: list[str] = []
        for row in rows:
            try:
                request = Request(**{**(params or {}), **{str(key): row[key] for key in row}})
            except ValidationError as error:
                raise MlflowException.invalid_parameter_value(first_fault(error)) from None
            sentences += self.generator.sample(**request.model_dump())
        return pd.DataFrame({"text": sentences})


set_model(ServedGenerator())
