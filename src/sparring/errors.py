"""Every error that Sparring raises on purpose.

    SparringError                   one clear message: the name, the value, the bound, what to do
    |-- UsageError                  the caller can mend it before anything runs      exit status 2
    |   |-- SettingsError           an unknown or impossible setting
    |   |-- DataError               a bad row: file and line
    |   |-- EngineError             an engine that cannot be opened, or cannot do what its role needs
    |   |-- RunError                a run directory of another recipe or other settings
    |   `-- LedgerError             a ledger that cannot be read or written
    |-- TrainingError               the training job ended badly                     exit status 1
    |-- GateError                   a world's model lacks a skill the loop relies on exit status 1
    |-- CertificateError            a judge is not as good as a run requires         exit status 1
    |-- TooManyFailures             more rollouts failed than the settings allow     exit status 1
    |-- ServerError                 a server is gone, or will not serve this account exit status 1
    |-- BudgetReached               the next call would not fit under the ceiling     exit status 3
    `-- RolloutError                one rollout came to nothing: becomes a `Failure`, never ends a run

Anything else that is raised is a bug and crashes.
"""

from __future__ import annotations


class SparringError(Exception):
    """Base of all of them."""

    exit_status = 1


class UsageError(SparringError):
    """Wrong input or settings, raised at the door, before a model is loaded."""

    exit_status = 2


class SettingsError(UsageError, ValueError):
    """An unknown or impossible setting."""


class DataError(UsageError, ValueError):
    """A bad row of data. The message starts with `file:line`."""


class EngineError(UsageError):
    """An engine that cannot be opened, or that cannot do what its role needs."""


class RunError(UsageError):
    """A run directory that belongs to another recipe or to other settings."""


class LedgerError(UsageError):
    """A ledger that cannot be read or written."""


class TrainingError(SparringError):
    """The training job ended badly. The message carries its last lines."""


class GateError(SparringError):
    """A world's model lacks a skill that the loop relies on."""


class CertificateError(SparringError):
    """A judge is not as good as a run requires, before the run would train on what it says."""


class TooManyFailures(SparringError):
    """More rollouts failed than the settings allow."""


class ServerError(SparringError):
    """A server is gone, or will not serve this account. What was paid for is in the ledger."""


class BudgetReached(SparringError):
    """The next call would not fit under the run's ceiling. The same command with a larger budget goes on."""

    exit_status = 3


class RolloutError(SparringError):
    """One rollout came to nothing. The driver turns it into a `Failure` with this reason."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail
