"""Sealed answers: text that can be read by nobody who does not mean to.

The key follows from the campaign's seed and a name, so this keeps nobody out who wants in; it keeps an analysis from
seeing an answer by accident, and shows when text or key are not what they were. `simulate` closes, `unblind` alone
opens: a test of imports holds that. All texts of one size are as long, whatever they say.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from bunchtrain.errors import InputError

#: Name of the object in a ROOT file that holds a sealed answer.
OBJECT = "sealed"


def _key(seed: int, name: str, use: str) -> bytes:
    return hashlib.blake2b(f"bunchtrain:{use}:{seed}:{name}".encode(), digest_size=32).digest()


def _stream(seed: int, name: str, size: int) -> bytes:
    return hashlib.shake_256(_key(seed, name, "stream")).digest(size)


def _mark(seed: int, name: str, hidden: bytes) -> str:
    return hmac.new(_key(seed, name, "mark"), hidden, hashlib.sha256).hexdigest()


def closed(answer: dict[str, Any], seed: int, name: str, size: int) -> str:
    """Return an answer sealed, as JSON text.

    Parameters
    ----------
    answer : dict
        JSON-like.
    seed, name : int, str
        What the key follows from: the same pair seals one answer only.
    size : int
        Bytes to which it is filled up, so that its length tells nothing.
    """
    salted = {**answer, "salt": _key(seed, name, "salt").hex()}
    text = json.dumps(salted, sort_keys=True, separators=(",", ":")).encode()
    if len(text) > size:
        raise ValueError(f"an answer of {len(text)} bytes is sealed as {size}")
    text = text.ljust(size)
    hidden = bytes(a ^ b for a, b in zip(text, _stream(seed, name, size), strict=True))
    digest = hashlib.sha256(text).hexdigest()
    return json.dumps({"answer": hidden.hex(), "digest": digest, "mark": _mark(seed, name, hidden)}, sort_keys=True)


def opened(text: str, seed: int, name: str, file: object) -> dict[str, Any]:
    """Return a sealed answer.

    Raises
    ------
    InputError
        If the seal is broken, or was made with another seed or name.
    """
    try:
        sealed = json.loads(text)
        hidden, mark, digest = bytes.fromhex(sealed["answer"]), sealed["mark"], sealed["digest"]
    except (ValueError, TypeError, KeyError):
        mend = "simulate the box again"
        raise InputError("the sealed answer is damaged", file=file, key=OBJECT, mend=mend) from None
    plain = bytes(a ^ b for a, b in zip(hidden, _stream(seed, name, len(hidden)), strict=True))
    if not hmac.compare_digest(mark, _mark(seed, name, hidden)) or hashlib.sha256(plain).hexdigest() != digest:
        raise InputError(
            "the sealed answer does not open",
            file=file,
            key=OBJECT,
            expected=f"an answer sealed with the campaign's seed and the name {name}, unchanged since",
            mend="open it with the campaign that made it; or simulate the box again",
        )
    found: dict[str, Any] = json.loads(plain)
    return {key: value for key, value in found.items() if key != "salt"}
