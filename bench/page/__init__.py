"""`navigator-bench page`: reports as one self-contained HTML page, and the page beside every report."""
