"""The names of things as English phrases."""

import re

AN = re.compile(r"(?!eu|one\b|uni(?!n|mp)|use)[aeiou]|hour|heir|honest", re.IGNORECASE)  # by sound
ALONE = frozenset(  # in the plural, or a substance
    "binoculars|broccoli|chocolate sauce|corn|dough|eggnog|guacamole|hair spray|hay|ice cream"
    "|mashed potato|parallel bars|red wine|scissors|skis|sunglasses|swimming trunks|toilet tissue"
    "|velvet|wool".split("|")
)


def with_article(name: str) -> str:
    """ "a dog", "an hourglass", "scissors": a name with the article that it takes, if one."""
    if name in ALONE:
        return name
    return f"{'an' if AN.match(name) else 'a'} {name}"
