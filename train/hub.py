"""Publish a trained folder on a Hugging Face hub, when asked."""

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - whichever HTTP client the library uses
)
from huggingface_hub.utils import validate_repo_id

from navigator.contracts import UserError


def check_hub(repo: str) -> None:
    """Refuse before the training what would be refused after it.

    Raises:
        UserError: a malformed name, or nobody is logged in.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"push_to_hub {repo!r} is no repository name ({error}); give ORG/NAME") from error
    if get_token() is None:
        raise UserError(f"push_to_hub {repo}: nobody is logged in; set HF_TOKEN or run `hf auth login` first")


def push(folder: Path, repo: str) -> str:
    """Upload a published folder; a repository that does not exist is made, private. Returns its address.

    Raises:
        UserError: the hub refused or cannot be reached; the folder stays as it is.
    """
    api = HfApi()
    try:
        made = api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=f"navigator: {folder.name}")
    except (HTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{folder} is complete but was not pushed to {repo} ({reason}); run the same command again to push it"
        ) from error
    return str(made)
