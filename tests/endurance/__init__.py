"""What a long-running process holds does not grow."""
