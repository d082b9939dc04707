"""The grades, in the words that annotators read, and what the metrics make of them."""

from dataclasses import dataclass

LOWEST, HIGHEST = 1, 5
RELEVANT = 4  # precision and recall count grades from here


@dataclass(frozen=True)
class Grade:
    """One grade: its number, a word for it, and when to give it."""

    number: int
    name: str
    meaning: str


GRADES = (
    Grade(5, "exactly right", "belongs there without a doubt; whoever asks would be glad to find it"),
    Grade(4, "good", "fits what is asked; a reasonable person would save it there"),
    Grade(3, "related", "same subject or same style, but not what is asked for"),
    Grade(2, "far", "a loose link to what is asked, no more"),
    Grade(1, "wrong", "nothing to do with what is asked"),
)
