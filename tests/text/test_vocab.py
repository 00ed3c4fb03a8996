import pytest

from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab


def test_join_is_concatenation_and_special_tokens_write_nothing() -> None:
    vocab = Vocab([b"a", b"bc", None, b"", b"\xf0\x9f"], end=[2])
    assert vocab.join([0, 1, 2, 3, 4]) == b"abc\xf0\x9f"
    assert vocab.special == {2, 3}
    assert vocab.end == {2}
    assert vocab.size == len(vocab) == 5


def test_equal_iff_fingerprints_equal() -> None:
    vocab = Vocab([b"a", b"bc", None], end=[2])
    same = Vocab([b"a", b"bc", b""], end=[2], names={2: "<end>"})
    others = [
        Vocab([b"ab", b"c", None], end=[2]),
        Vocab([b"a", b"bc", None]),
        Vocab([b"a", b"bc", None, None], end=[2]),
    ]
    assert same == vocab
    assert same.fingerprint == vocab.fingerprint
    assert hash(same) == hash(vocab)
    for other in others:
        assert other != vocab
        assert other.fingerprint != vocab.fingerprint


@pytest.mark.parametrize("id", [-1, 3])
def test_ids_outside_are_refused(id: int) -> None:
    with pytest.raises(InvalidInput, match="outside the vocabulary of 3"):
        Vocab([b"a", b"b", b"c"])[id]
    with pytest.raises(InvalidInput, match="outside the vocabulary of 3"):
        Vocab([b"a", b"b", b"c"], end=[id])
