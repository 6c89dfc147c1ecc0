"""The adapter as the rest of the package sees it: bounded in time, its failures translated, its rotations followed."""
