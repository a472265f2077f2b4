"""Names of the files in a run's folder, beside its checkpoints."""

IDENTITY = "run.json"
METRICS = "metrics.csv"
EVALUATION = "evaluation.csv"
FINISHED = "finished.json"
"""Written at the end, early or not, with the last step."""
