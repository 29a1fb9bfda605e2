"""Signals: what a rollout is worth. A signal is a function; what could not be judged is worth None, never 0."""
