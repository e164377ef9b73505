"""Waiting for a fact: a condition is looked at again and again until it holds or a deadline is
past. The only place of the suite that sleeps, and only between two looks."""

import time

LOOK_AGAIN_AFTER_SECONDS = 0.05


def until(condition, seconds, what):
    """Returns the first true value of `condition()`; fails with `what` and its last value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last seen: {value!r})")
        time.sleep(LOOK_AGAIN_AFTER_SECONDS)
