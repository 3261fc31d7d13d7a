"""Studies: what is compared, on what, with which budget; run by Optuna, kept in MLflow."""
