"""Sparring: language models that get better by interacting.

    tasks -> rollouts -> signal -> selection -> training rows -> checkpoint -> evaluation -> next round

Importing this package loads no model library: torch and transformers come with the engine or the training stage that
needs them.
"""

from sparring.errors import (
    DataError,
    EngineError,
    GateError,
    RolloutError,
    RunError,
    SettingsError,
    SparringError,
    TooManyFailures,
    TrainingError,
    UsageError,
)
from sparring.types import Chat, Completion, Example, Failure, LogProb, Message, Sampling

__version__ = "0.1.0"

__all__ = [
    "Chat",
    "Completion",
    "DataError",
    "EngineError",
    "Example",
    "Failure",
    "GateError",
    "LogProb",
    "Message",
    "RolloutError",
    "RunError",
    "Sampling",
    "SettingsError",
    "SparringError",
    "TooManyFailures",
    "TrainingError",
    "UsageError",
    "__version__",
]
