"""Sparring: language models that get better by interacting.

    tasks -> rollouts -> signal -> selection -> training rows -> checkpoint -> evaluation -> next round

Importing this package loads no model library: torch and transformers come with the engine or the training stage that
needs them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name where it is asked for: `import sparring` itself costs nothing."""
        from importlib import import_module

        for home in ("sparring.errors", "sparring.types"):
            if name in __all__ and hasattr(module := import_module(home), name):
                return getattr(module, name)
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
