"""What a model charges, and the most that a call to it may cost."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from sparring.errors import DataError
from sparring.ledger import Amount, Wanted, home


@dataclass(frozen=True, slots=True)
class Price:
    """What a model charges, in USD per million tokens."""

    prompt: float
    completion: float

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what a call costs, in USD."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


def price_of(model: str) -> Price | None:
    """Return the price of a model, None where it is unknown (never 0).

    Of `http://host/v1#NAME` the whole is looked up first, then NAME; an exact name goes before a longest `prefix*`.
    The shipped prices lie under those in `prices.toml` in `home()`. DataError for a row in there that is no price.
    """
    prices = price_table(home() / "prices.toml")
    for name in dict.fromkeys((model, model.rpartition("#")[2])):
        starts = [known for known in prices if known.endswith("*") and name.startswith(known[:-1])]
        if name in prices or starts:
            return prices[name if name in prices else max(starts, key=len)]
    return None


@cache
def price_table(own: Path) -> dict[str, Price]:
    """Return the shipped prices and, over them, those in `own`, by name; kept until `cache_clear`."""
    shipped = _read_prices(Path(__file__).with_name("prices.toml"))
    return shipped | _read_prices(own) if own.exists() else shipped


def _read_prices(path: Path) -> dict[str, Price]:
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as TOML ({error})") from error
    return {name: _price(row, f"{path}: {name}") for name, row in rows.items()}


def _price(row: object, where: str) -> Price:
    if not isinstance(row, dict):
        raise DataError(
            f"{where} = {row!r:.80}: must be a table with `prompt` and `completion`, USD per million tokens"
        )
    fields = cast(dict[str, object], row)
    if odd := (fields.keys() - {"prompt", "completion"}) or ({"prompt", "completion"} - fields.keys()):
        raise DataError(f"{where}.{min(odd)}: a price has `prompt` and `completion`, USD per million tokens, no more")
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise DataError(f"{where}.{name} = {value!r:.80}: must be USD per million tokens, 0 or more")
    numbers = cast(dict[str, float], fields)
    return Price(float(numbers["prompt"]), float(numbers["completion"]))


def most(wanted: Wanted, price: Price | None) -> Amount:
    """Return the most that a call may cost, which is several times what it will.

    No token of a byte-level tokenizer is shorter than a byte, and a chat template adds a few to every message.
    ValueError for a completion without `max_tokens`.
    """
    if wanted.kind == "completion" and wanted.max_tokens is None:
        raise ValueError("a completion without max_tokens may cost anything")
    prompt = len(wanted.text.encode()) + 32 * len(wanted.asked.get("messages", ())) + 256
    completion = wanted.max_tokens or 1  # a server that scores writes one token along with it
    return Amount(price and price.usd(prompt, completion), prompt + completion)
