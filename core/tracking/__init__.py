"""Keeping what happened: trackers, the journal before them, and what people see in the MLflow UI.

Importing this package is cheap; MLflow is imported by `core.tracking.mlflow_store` alone, when a
tracker is opened.
"""
