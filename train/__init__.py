"""Training: align the tower, post-train on the taste graph. One loop, one loss a file, each stage resumes exactly."""
