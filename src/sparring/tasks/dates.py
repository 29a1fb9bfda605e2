"""Date understanding: what day is today, and what day is the one asked for.

The family after BIG-Bench's, with sentences of our own. A teacher model criticises here: no script verifies prose about
dates. Answers are an option's letter in brackets, `(B)`; a question has six options, `(A) MM/DD/YYYY` to `(F) ...`.
"""

from __future__ import annotations

import random
from calendar import month_name, monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sparring.tasks.exercise import FINAL, Family
from sparring.tasks.reading import option_in

LETTERS = "ABCDEF"
TIERS = {"1-2": True, "3+": False}
"""Steps before the final response; more than two are only met in the test."""
YEARS = (1925, 2035)
NAMES = "Ines Tomas Lena Oskar Mira Jonas Freya Pavel Nadia Hugo".split()
NTH = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True, slots=True)
class Told:
    """What a question tells of today."""

    text: str
    today: date
    steps: tuple[str, ...]
    """How today's date is found, the last of them giving it."""
    others: tuple[date, ...] = ()
    """Dates on the way, which a careless reader takes for today."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which date a question asks for, from today."""

    phrase: str
    """As in "What is the date ...?"."""
    known: str
    """As in "... 03/04/2020 is 03/03/2020"."""
    days: int = 0
    months: int = 0

    def after(self, today: date) -> date:
        return moved(today, self.months) + timedelta(self.days)

    def is_plain(self, today: date) -> bool:
        """Say whether the month that is asked for has such a day: else readers differ."""
        return moved(today, self.months).day == today.day


ASKED = (
    Asked("today", ""),
    Asked("yesterday", "One day before", days=-1),
    Asked("tomorrow", "One day after", days=1),
    Asked("48 hours from now", "Two days after", days=2),
    Asked("one week ago", "Seven days before", days=-7),
    Asked("one week from today", "Seven days after", days=7),
    Asked("10 days ago", "Ten days before", days=-10),
    Asked("two weeks from today", "Fourteen days after", days=14),
    Asked("one month ago", "One month before", months=-1),
    Asked("one month from today", "One month after", months=1),
    Asked("one year ago", "One year before", months=-12),
    Asked("one year from today", "One year after", months=12),
)


def us(day: date) -> str:
    """Return a date as MM/DD/YYYY."""
    return f"{day.month:02}/{day.day:02}/{day.year:04}"


def moved(day: date, months: int) -> date:
    """Return the same day of a month that many later; the last of that month where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _long(day: date) -> str:
    return f"{month_name[day.month]} {day.day}, {day.year}"


def _any_day(rng: random.Random) -> date:
    start = date(YEARS[0], 1, 1)
    return start + timedelta(rng.randrange((date(YEARS[1], 12, 31) - start).days))


# One step to today's date


def _plainly(rng: random.Random) -> Told:
    today = _any_day(rng)
    text = rng.choice([f"Today is {_long(today)}.", f"The calendar on the wall shows today's date, {_long(today)}."])
    return Told(text, today, (f"Today is {us(today)}.",))


def _beside(rng: random.Random) -> Told:
    given, (word, verb, days) = _any_day(rng), rng.choice([("Yesterday", "was", 1), ("Tomorrow", "will be", -1)])
    today = given + timedelta(days)
    steps = (f"{word} {verb} {us(given)}, so today is {us(today)}.",)
    return Told(f"{word} {verb} {_long(given)}.", today, steps, (given, given - timedelta(days)))


def _since(rng: random.Random) -> Told:
    given, name, days = _any_day(rng), rng.choice(NAMES), rng.randint(3, 60)
    text = f"{name} moved to a new flat on {_long(given)}, which is exactly {days} days ago today."
    today = given + timedelta(days)
    return Told(text, today, (f"{days} days after {us(given)}, today is {us(today)}.",), (given,))


def _until(rng: random.Random) -> Told:
    given, days = _any_day(rng), rng.randint(2, 30)
    text = f"The library wants its atlas back by {_long(given)}, which is {days} days from today."
    today = given - timedelta(days)
    return Told(text, today, (f"{days} days before {us(given)}, today is {us(today)}.",), (given,))


def _month_end(rng: random.Random) -> Told:
    day = _any_day(rng)
    today = day.replace(day=monthrange(day.year, day.month)[1])
    month = f"{month_name[day.month]} {day.year}"
    steps = (f"{month} has {today.day} days, so today is {us(today)}.",)
    return Told(f"Today is the last day of {month}.", today, steps, (day.replace(day=1),))


# Two steps or three


def _chain(rng: random.Random) -> Told:
    given, (one, other) = _any_day(rng), rng.sample(NAMES, 2)
    days, weeks = rng.randint(2, 20), rng.randint(1, 6)
    came = given + timedelta(days)
    today = came + timedelta(weeks=weeks)
    count = "one week" if weeks == 1 else f"{weeks} weeks"
    text = (
        f"{one} reached the island on {_long(given)}. {other} came {days} days later, and has been there for {count}."
    )
    steps = (
        f"{other} came {days} days after {us(given)}, on {us(came)}.",
        f"{count.capitalize()} after {us(came)}, today is {us(today)}.",
    )
    return Told(text, today, steps, (given, came, given + timedelta(weeks=weeks)))


def _monthly(rng: random.Random) -> Told:
    first, name, count = _any_day(rng).replace(day=rng.randint(1, 28)), rng.choice(NAMES), rng.randint(3, 15)
    today = moved(first, count - 1)
    text = (
        f"{name} pays the rent on day {first.day} of every month, and did so for the first time in "
        f"{month_name[first.month]} {first.year}. Today {name} pays it for the {NTH[count - 1]} time."
    )
    steps = (
        f"The first payment was on {us(first)}.",
        f"The {NTH[count - 1]} is {count - 1} months later, so today is {us(today)}.",
    )
    return Told(text, today, steps, (first, moved(first, count)))


def _day_first(rng: random.Random) -> Told:
    given, name, days = _any_day(rng), rng.choice(NAMES), rng.randint(2, 25)
    given = given.replace(day=rng.randint(1, 12))
    today = given + timedelta(days)
    text = (
        f"{name} writes the day before the month. A note of {name}'s is dated "
        f"{given.day:02}/{given.month:02}/{given.year}, and was written {days} days ago."
    )
    steps = (
        f"With the day first, the note is from {us(given)}.",
        f"{days} days after {us(given)}, today is {us(today)}.",
    )
    return Told(text, today, steps, (given, date(given.year, given.day, given.month) + timedelta(days)))


def _weekday(rng: random.Random) -> Told:
    given, count, ahead = _any_day(rng), rng.randint(2, 5), rng.randint(1, 6)
    first = given + timedelta(ahead)
    today = first + timedelta(weeks=count - 1)
    day, other = WEEKDAYS[given.weekday()], WEEKDAYS[first.weekday()]
    text = f"{_long(given)} was a {day}. Today is the {NTH[count - 1]} {other} after that day."
    steps = (
        f"The first {other} after {day}, {us(given)}, was {us(first)}.",
        f"The {NTH[count - 1]} is {count - 1} {'week' if count == 2 else 'weeks'} later, so today is {us(today)}.",
    )
    return Told(text, today, steps, (given, first, today + timedelta(weeks=1)))


NEAR: tuple[Callable[[random.Random], Told], ...] = (_plainly, _beside, _since, _until, _month_end)
FAR: tuple[Callable[[random.Random], Told], ...] = (_chain, _monthly, _day_first, _weekday)


def draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
    """Return a question, its answer and its gold rationale."""
    far = tier == "3+" or rng.random() < 0.2
    told = rng.choice(FAR if far else NEAR)(rng)
    # Where today's date takes two steps, the lower tier leaves none to go.
    is_today = tier == "1-2" and (far or (bool(told.others) and rng.random() < 0.1))
    asked = ASKED[0] if is_today else rng.choice([asked for asked in ASKED[1:] if asked.is_plain(told.today)])
    right = asked.after(told.today)
    options = _options(rng, told, asked, right)
    letter = LETTERS[options.index(right)]
    listed = "\n".join(f"({name}) {us(option)}" for name, option in zip(LETTERS, options, strict=True))
    question = f"{told.text} What is the date {asked.phrase} in MM/DD/YYYY?\nOptions:\n{listed}"
    return question, f"({letter})", _rationale(told, asked, right, letter)


def _options(rng: random.Random, told: Told, asked: Asked, right: date) -> list[date]:
    """Return six dates in any order: the right one, the likely mistakes, and some of no reason."""
    wrong = list(dict.fromkeys(day for day in _mistakes(told, asked, right) if day != right))
    chosen = rng.sample(wrong, min(4, len(wrong)))
    while len(chosen) < len(LETTERS) - 1:
        day = right + timedelta(rng.choice([-1, 1]) * rng.randint(3, 400))
        if day != right and day not in chosen:
            chosen.append(day)
    return rng.sample([right, *chosen], len(LETTERS))


def _mistakes(told: Told, asked: Asked, right: date) -> Iterator[date]:
    """Give what comes out when one counts from the wrong day, the wrong way, or one too many."""
    yield from (asked.after(day) for day in told.others)
    yield told.today
    yield Asked("", "", -asked.days, -asked.months).after(told.today)
    yield from (right + timedelta(days) for days in (-1, 1))
    yield from (moved(right, months) for months in (-12, -1, 1, 12))


def _rationale(told: Told, asked: Asked, right: date, letter: str) -> str:
    steps = [*told.steps, *([f"{asked.known} {us(told.today)} is {us(right)}."] if asked.known else [])]
    lines = [f"({number}) {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"({FINAL}) {us(right)} is option ({letter}). So the answer is ({letter})."])


DATES = Family("date-understanding", TIERS, draw, answer_of=lambda attempt: option_in(attempt, LETTERS))
