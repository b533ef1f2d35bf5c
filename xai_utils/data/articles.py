"""The article of an English name."""

import re

AN = re.compile(r"(?!eu|one\b|uni(?!n|mp)|use)[aeiou]|hour|heir|honest", re.IGNORECASE)


def with_article(name: str) -> str:
    """ "a dog", "an hourglass", "a unicycle": by the sound of the name."""
    return f"{'an' if AN.match(name) else 'a'} {name}"
