from hypothesis import given
from hypothesis import strategies as st

from espalier.text.detokenize import Detokenizer, stream_text
from espalier.text.vocab import Vocab

BYTES = Vocab([bytes([b]) for b in range(256)] + [None])


@given(st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=4).map(str.encode)), max_size=8))
def test_pieces_join_to_the_decoded_whole_however_they_are_cut(runs: list[bytes]) -> None:
    pieces = list(stream_text(BYTES, runs))
    assert "".join(pieces) == b"".join(runs).decode("utf-8", errors="replace")
    assert all(pieces)


@given(st.text(max_size=20), st.data())
def test_a_character_appears_with_its_last_byte_and_never_before(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    writer = Detokenizer(BYTES)
    said = ""
    for at, byte in enumerate(raw, 1):
        said += writer.write([byte])
        whole = raw[:at].decode("utf-8", errors="ignore")
        assert said == whole
    assert writer.finish() == ""


@given(st.binary(max_size=12))
def test_what_was_written_never_changes_whatever_follows(raw: bytes) -> None:
    writer = Detokenizer(BYTES)
    settled = writer.write(raw)
    for following in (b"", b"\x80", b"\xbf\xbf", b"a", "é".encode(), b"\xf0\x9f\x99\x82"):
        assert (raw + following).decode("utf-8", errors="replace").startswith(settled)


@given(st.binary(max_size=12))
def test_no_more_than_three_bytes_are_held_back(raw: bytes) -> None:
    writer = Detokenizer(BYTES)
    settled = writer.write(raw)
    held = [n for n in range(4) if raw[: len(raw) - n].decode("utf-8", errors="replace") == settled]
    assert held


def test_special_tokens_inside_a_character_write_nothing() -> None:
    writer = Detokenizer(BYTES)
    euro = "€".encode()
    assert [writer.write([euro[0]]), writer.write([256]), writer.write(euro[1:])] == ["", "", "€"]
