"""Uploads the folder of a network to the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, RepoFile
from huggingface_hub.utils import validate_repo_id

from ..networks.base import AnyDiscriminator, Network
from ..networks.card import CARD, network_card, own_card
from ..networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, read_config
from ..networks.registry import FAMILIES
from ..networks.repository import check_name_of_kind, check_private, create_repo, description
from ..sampling.refine import CALIBRATION
from ..weights.record import KINDS
from .cache import sha256_of
from .cards import PICTURE
from .errors import hub_errors

FILES = (CONFIG_NAME, SAFETENSORS_SINGLE_FILE, CARD, PICTURE, CALIBRATION)


def networks_in(folder: Path, repo: str) -> Iterator[tuple[Path, str]]:
    """(folder, repository) of each network in ``folder``: a single network, or a pair (REPO and REPO-discriminator).

    Loads each network and its card, and checks the name of its repository. Raises ``ValueError`` or
    ``FileNotFoundError`` if that fails, before anything is uploaded.
    """
    _check_name(repo)
    pair = [folder / kind for kind in KINDS if (folder / kind / CONFIG_NAME).is_file()]
    if not pair and not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"folder: {folder} does not contain a network: there is no {CONFIG_NAME} and no generator/"
        )
    for path in pair or [folder]:
        network = load_any(path)
        own_card(path)  # raises ValueError for a card that is not UTF-8
        name = repo if network.kind == "generator" or not pair else f"{repo}-discriminator"
        _check_name(name)
        check_name_of_kind(name, network.kind)
        yield path, name


def _check_name(repo: str) -> None:
    length = len(repo.rpartition("/")[2])
    if length > 96:  # as on the Hub
        raise ValueError(f"repo: {repo} must have at most 96 characters after the / (got {length}); choose a shorter "
                         f"name")  # fmt: skip
    try:
        validate_repo_id(repo)
        legal = repo.count("/") == 1
    except ValueError:
        legal = False
    if not legal:
        raise ValueError(f"repo must be NAMESPACE/NAME of letters, digits, -, _ and . (got {repo!r})")


def load_any(folder: Path) -> Network:
    """Loads the network in ``folder``, generator or discriminator."""
    known = {network.__name__: network for pair in FAMILIES.values() for network in pair}
    kind = str(read_config(folder / CONFIG_NAME).get("class"))
    return known.get(kind, AnyDiscriminator).from_pretrained(folder)


def card_of(folder: Path, repo: str) -> str:
    """The card in ``folder``, or one generated from the network if it has none or one that was generated earlier."""
    own = own_card(folder)
    return network_card(load_any(folder), repo) if own is None else own


@contextmanager
def with_card(folder: Path, repo: str) -> Iterator[Path]:
    """``folder`` if its card is its own, otherwise a temporary copy of the files to upload, with a generated card."""
    if own_card(folder) is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for path in (folder / file for file in FILES if (folder / file).is_file()):
            shutil.copy(path, copy / path.name)
        (copy / CARD).write_text(card_of(folder, repo), encoding="utf-8")
        yield copy


def push(
    folder: Path,
    repo: str,
    private: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    message: str = "",
) -> str:
    """Uploads the folder of one network and returns its address. Uploads weights, config, card and sample image only.

    Creates the repository and the branch ``revision`` if they do not exist. ``tag``: new tag of the commit, not with
    ``create_pr``. ``create_pr``: open a pull request instead of committing. Repeating an interrupted push uploads the
    remaining files. Raises ``OSError`` with a one-line message, and ``ValueError`` for ``tag`` with ``create_pr`` and
    for ``private`` with a repository that is public.
    """
    if tag and create_pr:
        raise ValueError(f"tag: a pull request gets no tag (got tag {tag!r} with create_pr); omit the tag, and add it "
                         f"on the Hub after the merge")  # fmt: skip
    api = HfApi(token=token)
    with hub_errors(repo), with_card(folder, repo) as copy:
        create_repo(api, repo, private)
        folder = _without_card(api, folder, copy, repo, revision)
        tagged = bool(tag) and _is_tagged(api, folder, repo, tag, revision or "main")
        if revision and not create_pr:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, allow_patterns=list(FILES), revision=revision, create_pr=create_pr,
            commit_message=message or "Upload with sngan-hub",
        )  # fmt: skip
        if tag and not tagged:
            api.create_tag(repo, tag=tag, revision=commit.oid)
    return str(commit.pr_url or f"{api.endpoint}/{repo}")


def check_push(
    folder: Path, repo: str, private: bool = False, revision: str | None = None, tag: str | None = None
) -> None:
    """Raises what ``push`` would raise because of the repository that exists; changes nothing.

    For a pair: one of its networks is not uploaded where the other would be refused.
    """
    api = HfApi()
    with hub_errors(repo):
        if not (private or tag) or not api.repo_exists(repo):
            return
        if private:
            check_private(api, repo)
        if tag:
            with with_card(folder, repo) as copy:
                _is_tagged(api, _without_card(api, folder, copy, repo, revision), repo, tag, revision or "main")


def _without_card(api: HfApi, folder: Path, copy: Path, repo: str, revision: str | None) -> Path:
    """``copy``, which ``with_card`` made of ``folder``; without a generated card where the publisher's own stays."""
    if copy != folder and description(api, repo, revision) is not None:
        (copy / CARD).unlink()
    return copy


def _is_tagged(api: HfApi, folder: Path, repo: str, tag: str, branch: str) -> bool:
    """Whether an earlier call has made the tag, and this one changes nothing.

    Raises ``FileExistsError`` for a tag of another commit than the one that the push results in.
    """
    refs = api.list_repo_refs(repo)
    tagged = next((ref.target_commit for ref in refs.tags if ref.name == tag), None)
    if tagged is None:
        return False
    head = next((ref.target_commit for ref in refs.branches if ref.name == branch), None)
    files = [path for path in (folder / name for name in FILES) if path.is_file()]
    there = {entry.path: entry for entry in api.get_paths_info(repo, [path.name for path in files], revision=tagged)}
    if tagged != head or not all(_is_same(path, there.get(path.name)) for path in files):
        raise FileExistsError(f"tag: {repo} has the tag {tag} already, for other files or an earlier commit; nothing "
                              f"was uploaded to it; choose a new tag")  # fmt: skip
    return True


def _is_same(path: Path, entry: object) -> bool:
    """Whether the repository's file has the content of ``path``. Git's hash of a large file is that of a pointer."""
    if not isinstance(entry, RepoFile):
        return False
    if entry.lfs is not None:
        return entry.lfs.sha256 == sha256_of(path)
    data = path.read_bytes()
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
