"""A body in many tiny chunks is refused; other chunked bodies are not."""

from __future__ import annotations

import h11
import pytest

from esteira.web.server.parser import FREE_CHUNKS, MIN_CHUNK_BYTES, LimitedParser

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(count: int, size: int) -> bytes:
    return (b"%x\r\n" % size + b"a" * size + b"\r\n") * count


def body_of(sent: bytes) -> int:
    """How many bytes of body the parser returns."""
    parser = LimitedParser(16_384)
    parser.receive_data(sent)
    size = 0
    while (event := parser.next_event()) is not h11.NEED_DATA:
        size += len(event.data) if isinstance(event, h11.Data) else 0
        if isinstance(event, h11.EndOfMessage):
            break
    return size


@pytest.mark.parametrize(("count", "size"), [(FREE_CHUNKS, 1), (FREE_CHUNKS * 3, MIN_CHUNK_BYTES), (20, 65_536)])
def test_a_chunked_body_is_read(count: int, size: int) -> None:
    assert body_of(HEAD + chunks(count, size) + b"0\r\n\r\n") == count * size


@pytest.mark.parametrize(("large", "tiny"), [(0, FREE_CHUNKS + 1), (10, 2 * FREE_CHUNKS)])
def test_a_body_in_many_tiny_chunks_is_refused(large: int, tiny: int) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        body_of(HEAD + chunks(large, 10_000) + chunks(tiny, 1) + b"0\r\n\r\n")


def test_a_body_of_known_length_may_arrive_in_any_pieces() -> None:
    parser = LimitedParser(16_384)
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n")
    assert isinstance(parser.next_event(), h11.Request)
    for _ in range(3000):
        parser.receive_data(b"a")
        assert isinstance(parser.next_event(), h11.Data)
    assert isinstance(parser.next_event(), h11.EndOfMessage)
