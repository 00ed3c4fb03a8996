"""Text: what tokens say in bytes, and how text becomes tokens and back."""

from espalier.text.detokenize import Detokenizer, stream_text
from espalier.text.tokenizer import Tokenizer
from espalier.text.vocab import Vocab

__all__ = ["Detokenizer", "Tokenizer", "Vocab", "stream_text"]
