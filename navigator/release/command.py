"""The commands `navigator release create|list|promote|rollback`; no torch here, only `create` opens a model."""

from pathlib import Path
from typing import Any


def create(
    root: Path, model: Path, vectors: Path, index: Path, catalog: Path, encoder: str | None = None, name: str | None = None,
    note: str = "", copy: bool = False, device: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Make model, vectors and index one release folder, ROOT/NAME, that never changes.

    The parts are opened together and asked one request first: what does not belong together, or does not answer, becomes no
    release. Files are hard links to the parts where the file system has them (no more disk is taken, and the release stays
    when a part's folder is replaced), else copies. It is not live until `navigator release promote`.

    Args:
        root: folder of releases, made where there is none.
        model: a swapped model folder.
        vectors: the item vectors it reads.
        index: an index of these vectors.
        catalog: their catalogue; it stays where it is, and its place and fingerprint are remembered.
        encoder: what made the vectors' content, to read words and pictures with: a folder (becomes a part), "embedded" or an
            open_clip name (is remembered); without it the release answers histories and items alone.
        name: letters, digits, dots, dashes, underscores; default the next of r1, r2, ...
        note: a line for people, shown by `navigator release list`.
        copy: copy every file, where somebody may write into the parts in place.
        device: "auto", "cpu", "cuda" or "cuda:N", where it is tried.

    Returns:
        The release, how many files were linked and copied and why, items, and items of the catalogue without a vector.

    Raises:
        UserError: a missing part, parts that do not belong together, a name that is taken.
    """
    from navigator.encode_commands import resolve_encoder
    from navigator.release.parts import Sources, create_release

    named = None if encoder is None else resolve_encoder(encoder)
    return create_release(root, Sources(model, vectors, index, catalog, named), name, note, copy, device)


def list_releases(root: Path) -> dict[str, Any]:
    """The releases of a root, oldest first: made when, live or not, how large, and what let them go live.

    Args:
        root: folder of releases.

    Returns:
        live, releases (one row each), and what is wrong with the history, if anything.

    Raises:
        UserError: no such folder.
    """
    from navigator.release.overview import overview

    return overview(root)


def promote(
    root: Path, name: str, shadow: Path | None = None, max_age_days: float = 7.0, force: str | None = None, why: str = ""
) -> dict[str, Any]:  # fmt: skip
    """Make a release live. Servers of this root (navigator serve --releases ROOT) switch by themselves, between requests.

    It takes a passing report of `navigator-bench shadow` in which --old is what is live now and --new is this release; the
    first release of a root has nothing to be compared with and needs none. Every promotion and every refusal is written
    into ROOT/history.audit.jsonl.

    Args:
        root: folder of releases.
        name: the release.
        shadow: folder of the shadow report.
        max_age_days: how old the report may be.
        force: promote without a passing report, for this reason.
        why: a line for the history.

    Returns:
        What is live now, the number of the switch, from which release, by which report.

    Raises:
        UserError: no such release, files that were changed since, no report that lets it go live, or another process
            switches right now.
    """
    from navigator.release.live import promote_release

    return promote_release(root, name, shadow, max_age_days, force, why)


def rollback(root: Path, why: str, to: str | None = None) -> dict[str, Any]:
    """Make the release live again that was live before; once more goes to the one before that.

    Args:
        root: folder of releases.
        why: the reason, for the history.
        to: go back to this one of those that were live before.

    Returns:
        What is live now, the number of the switch and from which release.

    Raises:
        UserError: nothing was live before, or another process switches right now.
    """
    from navigator.release.live import roll_back

    return roll_back(root, why, to)
