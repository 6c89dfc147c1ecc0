"""The stores that come with the package; each module imports its own driver only."""
