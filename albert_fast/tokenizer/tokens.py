"""What a tokenizer knows of its tokens: ids, roles, tokens that are added, and the way back to text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, overload

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer.added_tokens import ROLES, AddedToken
from albert_fast.tokenizer.arguments import as_integer, as_list, check_text
from albert_fast.tokenizer.assembly import Frame
from albert_fast.tokenizer.backend import Backend

# The order in which transformers lists them.
_LISTED: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA: Final = "additional_special_tokens"
SPECIAL_TOKEN_NAMES: Final = (*(f"{role}_token" for role in ROLES), _EXTRA, "extra_special_tokens")
"""What ``add_special_tokens`` takes; the last is another name of the one before, that of transformers 5."""

# What transformers' `clean_up_tokenization_spaces` replaces, in its order.
_SPACES: Final = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)


def _role(role: str) -> Any:
    def token(self: TokenInterface) -> str:
        return self.backend.special[role]

    def assign(self: TokenInterface, content: str) -> None:
        if self.backend.token_to_id(check_text(content, f"{role}_token")) is None:
            raise InvalidInputError(
                f"{role}_token: got {content!r}, which is no token, expected one (add_special_tokens makes new ones)"
            )
        self.add_special_tokens({f"{role}_token": content})

    return property(token, assign)


class TokenInterface:
    """The part of ``AlbertTokenizer`` that needs no text: see there. Only ``add_tokens``, ``add_special_tokens`` and
    assigning a role change it, by another backend."""

    pad_token, unk_token, cls_token, sep_token, mask_token = map(_role, ROLES)
    model_max_length: int

    def __init__(self, backend: Backend) -> None:
        self._use(backend)

    def _use(self, backend: Backend) -> None:
        self.backend, self._tokens = backend, backend.tokens()
        self.pad_token_id, self.unk_token_id = self._id(self.pad_token), self._id(self.unk_token)
        self.cls_token_id, self.sep_token_id = self._id(self.cls_token), self._id(self.sep_token)
        self.mask_token_id = self._id(self.mask_token)
        # transformers' ALBERT tokenizers name them so, its others do not.
        has_ends = str(backend.settings().get("tokenizer_class")).startswith("Albert")
        self.bos_token: str | None = self.cls_token if has_ends else None
        self.eos_token: str | None = self.sep_token if has_ends else None
        self.bos_token_id: int | None = self.cls_token_id if has_ends else None
        self.eos_token_id: int | None = self.sep_token_id if has_ends else None

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def vocab_size(self) -> int:
        """The number of pieces, without tokens that were added to them; ``len()`` counts those, too."""
        return self.backend.size

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        return {token: i for i, token in enumerate(self._tokens)}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the tokens that are no pieces, and the special ones, with their ids."""
        ids = {**{self._tokens[i]: i for i in self.backend.all_special_ids}, **self.backend.added}
        return dict(sorted(ids.items(), key=lambda item: item[1]))

    # ---- special tokens --------------------------------------------------------------------------

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """The token of each role (``"pad_token"``, ...), and ``"additional_special_tokens"`` if there are any."""
        roles = {name: getattr(self, name) for name in _LISTED if getattr(self, name) is not None}
        return {**roles, _EXTRA: self.additional_special_tokens} if self.additional_special_tokens else roles

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, those without a role last."""
        of_roles = [getattr(self, name) for name in _LISTED if getattr(self, name) is not None]
        return list(dict.fromkeys([*of_roles, *(self._tokens[i] for i in self.backend.all_special_ids)]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        return [self._id(token) for token in self.all_special_tokens]

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens that have no role."""
        return [token for token in self.all_special_tokens if token not in self.backend.special.values()]

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of ``additional_special_tokens``."""
        return [self._id(token) for token in self.additional_special_tokens]

    extra_special_tokens = additional_special_tokens  # as transformers 5 has it

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens, which are found in a text before anything else and kept whole; return how many are new.

        ``new_tokens``: a string, an ``AddedToken`` of transformers, or a list of either. A token of the vocabulary
        keeps its id; others get the next ones, for which a model has rows after
        ``resize_token_embeddings(len(tokenizer))``. Threads that share a tokenizer should do so before they start.
        """
        entries = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        return self._add([_token(entry, f"new_tokens[{i}]", special_tokens) for i, entry in enumerate(entries)], {})

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Add special tokens, by role (``{"mask_token": "[M]"}``) or without
        (``{"additional_special_tokens": ["[E1]", "[E2]"]}``); return how many are new.

        A token that was special stays so. Raises ``InvalidInputError`` for a role that there is none of.
        """
        tokens: list[AddedToken] = []
        roles: dict[str, str] = {}
        for name, value in special_tokens_dict.items():
            role = name.removesuffix("_token")
            if name not in SPECIAL_TOKEN_NAMES:
                known = ", ".join(SPECIAL_TOKEN_NAMES)
                raise InvalidInputError(f"special_tokens_dict: got {name!r}, expected one of {known}")
            if role in ROLES:
                tokens.append(_token(value, name, True))
                roles[role] = tokens[-1].content
            else:
                entries = as_list(value, name, "a list of tokens")
                tokens += [_token(entry, f"{name}[{i}]", True) for i, entry in enumerate(entries)]
        return self._add(tokens, roles)

    def _add(self, tokens: Sequence[AddedToken], roles: Mapping[str, str]) -> int:
        before = len(self)
        self._use(self.backend.with_tokens(tokens, roles))
        return len(self) - before

    # ---- around a text ---------------------------------------------------------------------------

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a single text or a pair gets."""
        return self._frame.count(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The most tokens of a single text, special ones apart."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The most tokens of a pair, special ones apart."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: Iterable[int], token_ids_1: Iterable[int] | None = None
    ) -> list[int]:
        """``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``, as ids."""
        return self._frame.ids(list(token_ids_0), None if token_ids_1 is None else list(token_ids_1))

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The token types of ``build_inputs_with_special_tokens``."""
        return self._frame.token_types(len(token_ids_0), None if token_ids_1 is None else len(token_ids_1))

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens, 0 for others: where they will be added to one or two texts, or, if the ids have them
        already, where there are any."""
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise InvalidInputError(
                    "token_ids_1: got ids with already_has_special_tokens, expected all of them in token_ids_0"
                )
            special = set(self.backend.all_special_ids)
            return [int(i in special) for i in token_ids_0]
        return self._frame.special_tokens_mask(len(token_ids_0), None if token_ids_1 is None else len(token_ids_1))

    @property
    def _frame(self) -> Frame:
        return Frame(self.cls_token_id, self.sep_token_id)

    # ---- ids to tokens and text ------------------------------------------------------------------

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Return the token of an id, or of each; raises InvalidInputError outside the vocabulary."""
        if not isinstance(ids, Iterable):
            return self._tokens[self._check_ids(ids)[0]]
        special = set(self.backend.all_special_ids) if skip_special_tokens else ()
        return [self._tokens[i] for i in self._check_ids(ids) if i not in special]

    _convert_id_to_token = convert_ids_to_tokens  # which DataCollatorForWholeWordMask of transformers 4 calls

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]  # a string is one token
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a token, or of each; the unknown id for a string that is no piece."""
        if isinstance(tokens, str):
            return self._id(check_text(tokens, "tokens"))
        return [self._id(check_text(token, f"tokens[{i}]")) for i, token in enumerate(as_list(tokens, "tokens"))]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens."""
        return self.backend.join(list(tokens))

    def decode(
        self,
        token_ids: int | Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Return the text of ids (a list, an array or a tensor); special tokens are written out unless
        skipped. ``clean_up_tokenization_spaces``: without the spaces before English punctuation and contractions.
        """
        text = self.backend.decode(self._check_ids(token_ids), skip_special_tokens)
        for spaced, closed in _SPACES if clean_up_tokenization_spaces else ():
            text = text.replace(spaced, closed)
        return text

    def batch_decode(
        self,
        sequences: Iterable[int | Iterable[int]],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return ``decode`` of each sequence, or of each id."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]

    def _id(self, token: str) -> int:
        """The id of a token; of any other string that of the unknown token."""
        if (found := self.backend.token_to_id(token)) is not None:
            return found
        unknown = self.backend.token_to_id(self.backend.special["unk"])
        assert unknown is not None  # every backend has its special tokens
        return unknown

    def _check_ids(self, ids: int | Iterable[int]) -> list[int]:
        values: Any = ids.tolist() if hasattr(ids, "tolist") else ids
        values = list(values) if isinstance(values, Iterable) else [values]
        return [as_integer(i, "ids", 0, len(self) - 1) for i in values]


def _token(entry: Any, where: str, special: bool) -> AddedToken:
    if (token := AddedToken.of(entry, special)) is None:
        raise InvalidTypeError(f"{where}: got {entry!r}, expected a string that is not empty, or an AddedToken")
    check_text(token.content, where)
    return token
