"""Every model call that was ever paid for, in one SQLite file that all runs share.

A sending of a call is a row, written *before* it is sent (the intent); what came back is a row of its own, so that
after a kill the file says which calls may have been billed without an answer. Answers are found by key: the digest of
what the server was asked and a sample index, never of when, in which order or for whom. Rows are added and never
changed (which would be twice as slow, too): a later sending is another row, and the latest usable answer wins.

The file is in WAL mode: any number of processes on one machine read and write it together. It does not belong on a
network file system, whose locks SQLite cannot rely on.
"""

from sparring.ledger.calls import Amount, Settled, Total, Wanted, canonical
from sparring.ledger.file import GC_DAYS, Ledger, home

__all__ = ["GC_DAYS", "Amount", "Ledger", "Settled", "Total", "Wanted", "canonical", "home"]
