"""Debian's openclipart by apt, without root: download, verify, unpack into the cache."""

import shutil
from pathlib import Path

from tqdm import tqdm

from navigator.assets import cache_dir
from navigator.assets.download import keep, partial_folder, run, verified
from navigator.contracts import UserError, is_current, publish
from navigator.contracts.manifest import file_digest

DEBS = {  # package: {version: SHA-256}
    "openclipart-png": {"1:0.18+dfsg-19": "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"},
    "openclipart-svg": {"1:0.18+dfsg-19": "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5"},
}


def fetch_deb(package: str, allow_unpinned: bool) -> Path:
    """A Debian package file in the cache, verified; downloaded by apt, without root, if it is not there yet.

    Raises:
        UserError: no apt, no network, a wrong SHA-256, or a version without a pinned one unless `allow_unpinned`.
    """
    store = cache_dir() / "downloads"
    pinned = DEBS[package]
    for sha in pinned.values():
        found = verified(store.glob(f"{package}_*.deb"), sha)
        if found:
            return found
    unpinned = sorted((store / "unpinned").glob(f"{package}_*.deb"))
    if unpinned and allow_unpinned:
        return unpinned[-1]
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(
                f"{tool} is not on this machine, so {package} cannot be fetched: use Debian or Ubuntu, "
                f"or copy {package}_*.deb from one into {store} and run the command again"
            )
    with partial_folder(store, package) as partial:
        options = _apt_options(package, store)
        version = _candidate(package, options)
        sha = pinned.get(version)
        if sha is None and not allow_unpinned:
            raise UserError(
                f"apt offers {package} {version}, whose SHA-256 is not pinned here (pinned: {', '.join(pinned)}); "
                f"to accept what apt has verified by its own signatures, give --allow_unpinned true"
            )
        command = ["apt-get", *options, "download", f"{package}={version}"]
        run(command, partial, f"apt could not download {package}", "check the network and the apt sources")
        return keep(partial, f"{package}_*.deb", sha, f"{package} {version}", store if sha else store / "unpinned")


def fetch_openclipart(allow_unpinned: bool = False) -> Path:
    """Both openclipart packages unpacked under png/ and svg/ of one artefact of kind "openclipart".

    Pictures lie in png/usr/share/openclipart/png, drawings with their metadata in svg/usr/share/openclipart/svg.
    """
    out = cache_dir() / "openclipart"
    debs = {kind: fetch_deb(f"openclipart-{kind}", allow_unpinned) for kind in ("png", "svg")}
    inputs = {kind: file_digest(path) for kind, path in debs.items()}
    if not is_current(out, "openclipart", {}, inputs):
        with publish(out, "openclipart", {}, inputs) as work:
            for kind, deb in tqdm(debs.items(), desc="unpacking openclipart", unit="package"):
                command = ["dpkg-deb", "-x", str(deb), str(work.path / kind)]
                run(command, work.path, f"dpkg-deb could not unpack {deb}", "remove that file")
    return out


def _apt_options(package: str, store: Path) -> list[str]:
    """Options for apt-get; with no package lists on the machine, a private state folder is filled (still no root)."""
    private = store / "apt"
    options = ["-o", f"Dir::State::lists={private / 'lists'}", "-o", f"Dir::Cache={private / 'cache'}"]
    if not (private / "lists").is_dir():
        if _candidate(package, []):
            return []
        (private / "lists" / "partial").mkdir(parents=True)
        (private / "cache" / "archives" / "partial").mkdir(parents=True)
    if not _candidate(package, options):
        run(
            ["apt-get", *options, "update"],
            store,
            "apt could not read its package lists",
            "check the network and the apt sources",
        )
    if not _candidate(package, options):
        raise UserError(
            f"apt knows no package {package}: add Debian's main or Ubuntu's universe component to the apt sources"
        )
    return options


def _candidate(package: str, options: list[str]) -> str:
    """The version apt would install, empty when it knows none."""
    shown = run(["apt-cache", *options, "policy", package], Path.cwd(), "apt-cache failed", "check the apt sources")
    words = [line.split()[1] for line in shown.splitlines() if line.strip().startswith("Candidate:")]
    return words[0] if words and words[0] != "(none)" else ""
