"""Keeping what happened: trackers, the journal before them, and what people see in the MLflow UI.

Importing this package is cheap; MLflow is imported by the files named `mlflow_*` and by
`served_generator`, when a tracker is opened.
"""
