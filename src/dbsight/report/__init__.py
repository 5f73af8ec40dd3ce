"""4 REPORT: what was found, on spans, in logs, in metrics, on the terminal."""
