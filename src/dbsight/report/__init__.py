"""Reports: findings on spans, in logs, in metrics, on the terminal, and in files."""
