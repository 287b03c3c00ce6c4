"""albert_fast: the fastest and most trustworthy way to run ALBERT."""
