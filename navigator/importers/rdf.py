"""Reads the RDF that an SVG carries about itself: title, description, uploader, keywords."""

import html
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

_SLIP = re.compile(r"HASH\(0x[0-9a-f]+\)")


@dataclass(frozen=True)
class Work:
    """What a file says about itself; an empty string or tuple where it says nothing.

    Attributes:
        title: as the uploader wrote it.
        description: free text.
        uploader: the creator's name.
        keywords: lower case, underscores kept, distinct, in the file's order.
    """

    title: str = ""
    description: str = ""
    uploader: str = ""
    keywords: tuple[str, ...] = ()


def read_work(path: Path) -> Work:
    """The first `cc:Work` of an SVG file. A file that is no well-formed XML is searched by pattern instead."""
    data = path.read_bytes()
    try:
        work = ET.fromstring(data).find(".//{*}Work")
    except ET.ParseError:
        return _by_pattern(data.decode("utf-8", "replace"))
    if work is None:
        return Work()
    return _work(
        work.findtext("{*}title"),
        work.findtext("{*}description"),
        work.findtext("{*}creator//{*}title"),
        [entry.text for entry in work.findall("{*}subject//{*}li")],
    )


def _by_pattern(text: str) -> Work:
    metadata = re.search(r"<metadata.*?(?:</metadata>|$)", text, re.DOTALL)
    text = metadata.group() if metadata else ""

    def first(tag: str, inside: str = text) -> str:
        found = re.search(rf"<(?:\w+:)?{tag}\b[^>/]*>(.*?)</(?:\w+:)?{tag}>", inside, re.DOTALL)
        return found.group(1) if found else ""

    keywords = re.findall(r"<(?:\w+:)?li\b[^>/]*>(.*?)</(?:\w+:)?li>", text, re.DOTALL)
    return _work(first("title"), first("description"), first("title", first("creator")), list(keywords))


def _work(title: str | None, description: str | None, uploader: str | None, keywords: list[str | None]) -> Work:
    distinct = dict.fromkeys(_clean(keyword).lower() for keyword in keywords)
    distinct.pop("", None)
    return Work(_clean(title), _clean(description), _clean(uploader), tuple(distinct))


def _clean(text: str | None) -> str:
    """One line; undoes double escaping (`&amp;eacute;`), UTF-8 read as Latin-1, and the slip `HASH(0x..)`."""
    text = " ".join(html.unescape(html.unescape(text or "")).split())
    if _SLIP.fullmatch(text):
        return ""
    if re.search("[\u00c2-\u00c5][\u0080-\u00bf]", text):
        try:
            return text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return text
    return text
