"""Runs load on a whole stack while it breaks it, and writes down what happened; `checker` then judges."""
