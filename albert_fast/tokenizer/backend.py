"""What a kind of vocabulary must do, so that one tokenizer serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from albert_fast.tokenizer.added_tokens import AddedToken
from albert_fast.tokenizer.assembly import Tokens


@runtime_checkable
class Backend(Protocol):
    """Text to tokens and back, without special tokens around them; immutable, shared by threads, pickled.

    ``special`` gives the content of the token for each role (``"pad"``, ``"unk"``, ``"cls"``, ``"sep"``, ``"mask"``),
    ``added`` the ids of tokens that are no pieces, and ``size`` how many pieces there are. ``extra_to_longer``: see
    ``kept_lengths``. ``subword_prefix`` begins tokens that go on with a word, if the kind marks them.
    """

    name: str
    size: int
    special: dict[str, str]
    added: dict[str, int]
    all_special_ids: list[int]
    extra_to_longer: bool
    subword_prefix: str | None

    def tokens(self) -> list[str]:
        """Every token in the order of ids."""

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, None for any other string."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text."""

    def encode(self, texts: list[str], num_threads: int | None, least: int | None = None) -> list[list[int]]:
        """The ids of each text; of a long one the first are enough, if there are ``least`` of them."""

    def encode_with_spans(self, text: str) -> Tokens:
        """The ids of a text with the range of its characters that each is from."""

    def join(self, tokens: list[str]) -> str:
        """The text of tokens."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """The text of ids."""

    def with_tokens(self, tokens: Sequence[AddedToken], roles: Mapping[str, str]) -> Backend:
        """The same with more tokens, which are found in a text before anything else, and tokens for some roles. One
        that the vocabulary has keeps its id, others get the next.
        """

    def files(self) -> dict[str, bytes]:
        """The files that make this backend again."""

    def settings(self) -> dict[str, Any]:
        """What tokenizer_config.json says of it."""
