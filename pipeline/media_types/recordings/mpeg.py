"""Finds MP3 and AAC without a tag by their frame headers. ISO/IEC 11172-3 2.4.1, ISO/IEC 13818-7 6.2."""

from __future__ import annotations

SYNC = 0xFF
# Headers that must follow one another at the distances that they state. Fewer occur in other files by chance.
CHAIN = 4
MAX_GARBAGE = 1 << 19  # bytes before the first frame; MP3 that begins further on is not found
_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5 layer III
_RATES = (44100, 48000, 32000)
MPEG_1, MPEG_2, LAYER_3 = 3, 2, 1


def mp3_frame_size(head: bytes) -> int:
    """Bytes of the layer III frame that begins here; 0 if none does."""
    if len(head) < 4 or head[0] != SYNC or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if layer != LAYER_3 or version == 1 or kbits in {0, 15} or rate == 3:
        return 0
    hertz = _RATES[rate] >> (MPEG_1 - version if version else 2)
    table, factor = (_KBITS_1, 144) if version == MPEG_1 else (_KBITS_2, 72)
    return factor * table[kbits - 1] * 1000 // hertz + (head[2] >> 1 & 1)


def has_mp3(content: bytes) -> bool:
    """Whether a chain of MP3 frames begins within the first MAX_GARBAGE bytes."""
    at = content.find(SYNC, 0, MAX_GARBAGE)
    while at >= 0:
        if _is_chain(content, at):
            return True
        at = content.find(SYNC, at + 1, MAX_GARBAGE)
    return False


def _is_chain(content: bytes, at: int) -> bool:
    for _ in range(CHAIN):
        size = mp3_frame_size(content[at : at + 4])
        if not size:
            return False
        at += size
    return True


def is_adts(head: bytes) -> bool:
    """Whether an AAC frame begins here: a sync word and layer 0, which MP3 does not use."""
    return len(head) >= 7 and head[0] == SYNC and head[1] & 0xF6 == 0xF0
