"""Instructions as vectors: hashed words, the same on every machine and without a vocabulary."""

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

TEXT_DIM = 64
_STOP = frozenset(("a", "an", "and", "of", "please", "the", "then", "to"))


def hash_words(text: str) -> Float32[np.ndarray, "64"]:
    """Embed a sentence as a unit vector: signed hashes of its words and of pairs of neighbours.

    Words that carry no meaning are left out, so that rephrasings stay close; pairs keep the
    order, so that "bowl on plate" is not "plate on bowl".

    Source: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
    """
    words = [w for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in _STOP]
    grams = [(w, 1.0) for w in words]
    grams += [(f"{a} {b}", 0.5) for a, b in zip(words, words[1:], strict=False)]
    vector = np.zeros(TEXT_DIM, np.float32)
    for gram, weight in grams:
        code = zlib.crc32(gram.encode())
        vector[code % TEXT_DIM] += weight if code & 0x80000000 else -weight
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


TEXT_ENCODERS: dict[str, Callable[[str], np.ndarray]] = {"hash": hash_words}
"""Every way to embed a sentence; a sentence encoder is one more entry."""


def embed(texts: Sequence[str], encoder: str = "hash") -> Float32[np.ndarray, "B 64"]:
    """Embed a batch of sentences; each distinct one is encoded once."""
    vectors = {text: TEXT_ENCODERS[encoder](text) for text in set(texts)}
    return np.stack([vectors[text] for text in texts])
