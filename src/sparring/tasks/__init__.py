"""Tasks: what is asked. One row is one task, and no task stands in two splits."""

from __future__ import annotations

from sparring.tasks.load import SPLITS, Split, Splits, Task, check_disjoint, load_tasks

__all__ = ["SPLITS", "Split", "Splits", "Task", "check_disjoint", "load_tasks"]
