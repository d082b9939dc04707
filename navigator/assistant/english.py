"""Closed lists of English words: what a wish is made of besides what it is about.

They decide what a turn refers to, rules out or merely says in passing. A word that is on no list is what the wish is about.
In another language nothing is on them: every word then counts, and only the vectors of the encoder speak.
"""

import re

APOSTROPHE = "\u2019"  # the curly one, which keyboards of phones write
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

COURTESY = frozenset(
    "hello hi hey howdy greetings good morning afternoon evening night day thanks thank thx cheers you very so much many lot a "
    "bye goodbye see ok okay great nice cool perfect lovely wonderful super awesome fine yes no yeah yep nope please sorry "
    "that's thats is all for now it the help your that was love i this these them how are who what can do up".split()
)
GREETING = frozenset("hello hi hey howdy greetings morning afternoon evening how who what".split())
THANKS = frozenset(
    "thanks thank thx cheers bye goodbye ok okay great nice cool perfect lovely wonderful super awesome fine".split()
)
PASSING = frozenset(
    "a an the of in on at to for from by with and or but as is are am was were be been being do does did have has "
    "had i i'm i'd i'll me my mine we us our you your it its it's he she they them their this that these those there "
    "here some any something anything thing things one ones someone who whom which what where when how why can could "
    "would should will may might must want wanted need needed like liked love looking look find found get give show "
    "see search seek shows shown suggest recommend please thanks thank hello hi hey ok okay yes no not just really "
    "very quite rather too so also then now more other others another else different similar same again still only "
    "about around near kind sort nearest close closest come comes forget never mind prefer either neither cheap "
    "cheaper expensive price priced affordable type style way bit little lot lots few many much most better best "
    "nice good great cool pretty beautiful lovely fun funny simple plain right fit fits suitable use using used make "
    "making made project purpose let let's go goes going picture pictures image images photo photos drawing drawings "
    "illustration illustrations clipart clip art icon icons graphic graphics item items result results option "
    "options first second third fourth fifth sixth last previous next without except instead than into out up down "
    "over under off all every each both such if because actually maybe perhaps anyway new topic change subject back "
    "got you've i've don't doesn't isn't aren't hmm well oh add keep bring holding wearing having mean meant called "
    "named among behind beside between below above inside outside during while until".split()
)
COLOURS = frozenset(
    "red blue green yellow orange purple pink brown black white grey gray golden gold silver violet turquoise beige".split()
)
MODIFIERS = COLOURS | frozenset(
    "big bigger large larger small smaller little tiny huge new old vintage modern dark darker light "
    "lighter bright brighter round square flat happy sad cute scary colourful colorful coloured colored color colour "
    "cartoon realistic detailed simpler fancy minimalist outline outlined monochrome transparent young tall short long thin "
    "thick wide narrow elegant serious friendly warm cold shiny".split()
)
ASKING = frozenset("show find need want search looking look give suggest recommend get got seek have".split())
FURTHER = frozenset("more other others another else different similar further additional again".split())
REFINING = frozenset(
    "but without no not instead only with in for rather make same similar different like except".split()
)
PREPOSITIONS = frozenset(
    "for with in on at by from about around among behind beside between below above under over inside outside during "
    "near".split()
)
FILLING = frozenset(
    "maybe perhaps please ok okay actually hmm well oh and also now could can you do have something anything any some ones i "
    "i'd would like prefer want it them to be show me those these the just then".split()
)
LEAVING = (
    "instead",
    "forget",
    "never mind",
    "nevermind",
    "new topic",
    "something else",
    "different topic",
    "change of",
)
ORDINALS = {
    "first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3, "fifth": 4, "5th": 4, "sixth": 5,
    "6th": 5, "seventh": 6, "7th": 6, "eighth": 7, "8th": 7, "ninth": 8, "9th": 8, "tenth": 9, "10th": 9, "last": -1,
}  # fmt: skip
POINTING = frozenset("this that it these those them".split())


def words_of(text: str) -> list[str]:
    """Words in lower case, in order."""
    return _WORD.findall(text.casefold().replace(APOSTROPHE, "'"))


def stem(word: str) -> str:
    """A word without its plural ending."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def subjects(text: str) -> list[str]:
    """The words that a wish is about, in order: those on no list, longer than a letter."""
    return [word for word in words_of(text) if word not in PASSING and (len(word) > 1 or not word.isascii())]


_ASKED_FOR = re.compile(r"\b(?:look|looking|search|searching|ask|asking|hunt|hunting|wish|wishing|hope|hoping)\s+for\b")
_DETAIL = re.compile(
    rf"(?:\b(?:{'|'.join(sorted(PREPOSITIONS))})\b|(?<=\w\s)(?:that|which|who)\b|"
    r"\b(?:my|our)(?:\s+\w+){1,2}\s+(?:is|are)\b)[^,.;:!?]*"
)


def naming(text: str) -> list[str]:
    """Those of the subjects that name what is wanted: "skull" of "a skull for a party with pirates".

    What stands after a preposition or in a relative clause says where it is, what it does or what it is for; "of" belongs to
    the name. "My board is ..." names nothing.
    """
    return subjects(_DETAIL.sub(" ", _ASKED_FOR.sub(" ", text.casefold().replace(APOSTROPHE, "'"))))
