"""Files made to crash, exhaust or deceive the program that reads them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable

from tests.support import compound_files as office
from tests.support.samples import pdf_by_hand, png_by_hand, png_chunk, sample

SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"


def huge_png(width: int = 65536, height: int = 65536) -> bytes:
    return png_by_hand(width, height, rows=zlib.compress(bytes(400_000_000), 1)[:500_000])


def huge_jpeg(width: int = 16_800, height: int = 16_800) -> bytes:
    """A small JPEG whose frame header declares a large size."""
    content = sample("jpeg/pillow")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def huge_webp(size: int = 12_000) -> bytes:
    content = bytearray(sample("webp/pillow"))
    assert content[12:16] == b"VP8 "
    content[26:30] = struct.pack("<HH", size, size)
    return bytes(content)


def huge_animated_webp(size: int = 16_383) -> bytes:
    content = bytearray(sample("webp/animated"))
    assert content[12:16] == b"VP8X"
    content[24:30] = (size - 1).to_bytes(3, "little") * 2
    return bytes(content)


def gif(frames: Iterable[tuple[int, int]], canvas: tuple[int, int] = (4, 4)) -> bytes:
    """A GIF whose frames declare these sizes; each holds 16 pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes(6)
    # Codes of three bits: a clear code before each pixel keeps that length; then the end code.
    codes = sum(code << 3 * at for at, code in enumerate([4, 0] * 16 + [5]))
    pixels = b"\x02\x0d" + codes.to_bytes(13, "little") + b"\0"
    body = b"".join(b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0) + pixels for size in frames)
    return head + body + b"\x3b"


def webp_frames(count: int) -> bytes:
    """An animation that repeats its first frame."""
    content = sample("webp/animated")
    at = content.index(b"ANMF")
    size = 8 + int.from_bytes(content[at + 4 : at + 8], "little")
    body = content[8:at] + content[at : at + size] * count
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def png_frames(count: int) -> bytes:
    """An APNG that declares this many frames."""
    return png_by_hand(chunks=png_chunk(b"acTL", struct.pack(">II", count, 0)))


def png_text(megabytes: int, chunks: int = 1) -> bytes:
    text = b"Comment\0\0" + zlib.compress(bytes(megabytes * 1_000_000), 9)
    return png_by_hand(chunks=png_chunk(b"zTXt", text) * chunks)


def png_profile_bomb() -> bytes:
    return png_by_hand(chunks=png_chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(300_000_000), 9)))


def png_empty_chunks(count: int) -> bytes:
    """Private chunks without content; the checksum of the first is wrong."""
    return png_by_hand(chunks=png_chunk(b"prVt", b"")[:-4] + bytes(4) + png_chunk(b"prVt", b"") * count)


def png_chunk_beyond_the_file() -> bytes:
    """A chunk of 2 GB in front of the pixels, of which the file has nothing."""
    return png_by_hand(chunks=struct.pack(">I4s", 2_000_000_000, b"prVt"))


def movie_of_boxes(count: int) -> bytes:
    """More empty boxes in front of the index than a movie has."""
    return struct.pack(">I4s", 8, b"skip") * count + mp4_boxes((b"moov", b""))


def movie_of_nested_boxes(depth: int = 20_000) -> bytes:
    """Boxes within boxes, each up to the end of the file."""
    return struct.pack(">I4s", 0, b"moov") + struct.pack(">I4s", 0, b"trak") * depth


def movie_with_endless_box() -> bytes:
    """A box whose size in 64 bits exceeds every file."""
    return struct.pack(">I4sQ", 1, b"skip", 2**64 - 1) + bytes(64)


def movie_of_tracks(count: int) -> bytes:
    """An index with many empty tracks."""
    return mp4_boxes((b"skip", b""), (b"moov", mp4_boxes((b"trak", b"")) * count), (b"mdat", b"x"))


DOCTYPE = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


def xml_bomb(declaration: str = DOCTYPE) -> bytes:
    return office.package(document=declaration + office.DOCUMENT)


def content_types_bomb() -> bytes:
    return office.package(types=office.CONTENT_TYPES.replace("<Types", DOCTYPE + "<Types"))


def nested_zip(depth: int) -> bytes:
    """Archives within archives, as in 42.zip; the innermost expands."""
    content = office.zipped({"0.dll": bytes(1_000_000)})
    for level in range(depth):
        content = office.zipped({f"{level}-{number}.zip": content for number in range(4)})
    return office.package({"word/embeddings/42.zip": content})


def overlapping_zip(copies: int = 50) -> bytes:
    """A small version of Fifield's bomb: many entries share the bytes of one."""
    out = io.BytesIO(office.package({"word/kernel.bin": bytes(range(256)) * 40}))
    with zipfile.ZipFile(out, "a") as archive:
        kernel = archive.getinfo("word/kernel.bin")
        for number in range(copies):
            twin = zipfile.ZipInfo(f"word/copy{number}.bin")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(twin, field, getattr(kernel, field))
            archive.filelist.append(twin)
        archive._didModify = True
    return out.getvalue()


def zip_that_hides(real: int, declared: int) -> bytes:
    """An entry that unpacks to more bytes than both its headers declare."""
    content = office.package({"word/media/x.bin": bytes(real)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo("word/media/x.bin")
    return content.replace(
        struct.pack("<II", entry.compress_size, real), struct.pack("<II", entry.compress_size, declared)
    )


def zip_with_other_local_size() -> bytes:
    content = office.package({"word/media/x.bin": bytes(5000)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.getinfo("word/media/x.bin").header_offset + 22
    return content[:at] + struct.pack("<I", 4000) + content[at + 4 :]


def zip_with_two_ends() -> bytes:
    content = office.package()
    end = content[-22:]
    return content[:-2] + struct.pack("<H", 22) + end


def encrypted_zip() -> bytes:
    """A package whose entries are all marked as encrypted."""
    content = bytearray(office.package())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 1)
    return bytes(content)


def zip_with_link() -> bytes:
    out = io.BytesIO(office.package())
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("word/link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


OTHER_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "apk": lambda: office.zipped({"AndroidManifest.xml": b"\x03\0\x08\0", "classes.dex": b"dex\n035\0"}),
    "jar": lambda: office.zipped({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "A.class": b"\xca\xfe\xba\xbe"}),
    "xpi": lambda: office.zipped({"manifest.json": b"{}", "install.rdf": b"<RDF/>"}),
    "epub": lambda: office.zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<container/>"}),
    "vsdx": lambda: office.package(main="application/vnd.ms-visio.drawing.main+xml"),
    "zip": lambda: office.zipped({"a.txt": b"hello"}),
    "empty zip": lambda: office.zipped({}),
}


def flate_bomb(megabytes: int = 1000) -> str:
    """A stream packed three times, as text of a PDF object."""
    content = bytes(1_000_000) * megabytes
    for _ in range(3):
        content = zlib.compress(content, 9)
    head = f"<< /Length {len(content)} /Filter [/FlateDecode /FlateDecode /FlateDecode] >>"
    return f"{head}\nstream\n{content.decode('latin-1')}\nendstream"


def pdf_flate_bomb() -> bytes:
    return pdf_by_hand(objects=(flate_bomb(200),)).replace(b"/MediaBox", b"/Contents 5 0 R /MediaBox")


def pdf_page_loop() -> bytes:
    return pdf_by_hand().replace(b"/Kids [3 0 R 4 0 R]", b"/Kids [2 0 R 2 0 R]")


def pdf_many_pages() -> bytes:
    return pdf_by_hand().replace(b"/Count 2", b"/Count 1000000")


def pdf_long_number() -> bytes:
    return pdf_by_hand(catalog=f"/X {'9' * 1_000_000}")


def mp3_tag_only() -> bytes:
    return b"ID3\x04\0\0\0\0\x01\x76" + bytes(246)


def mp4_boxes(*boxes: tuple[bytes, bytes]) -> bytes:
    return b"".join(struct.pack(">I4s", 8 + len(body), name) + body for name, body in boxes)


FTYP = (b"ftyp", b"isom\0\0\x02\0isomiso2mp41")


def mp4_with_long_sizes() -> bytes:
    """An MP4 with the size of its media data in 64 bits."""
    content = sample("mp4/h264")
    at = content.index(b"mdat") - 4
    assert content[at - 8 : at - 4] == struct.pack(">I", 8), "a spare box of 8 bytes precedes the media data"
    size = int.from_bytes(content[at : at + 4], "big")
    return content[: at - 8] + struct.pack(">I4sQ", 1, b"mdat", size + 8) + content[at + 8 :]


def mp4_with_too_long_data() -> bytes:
    """An MP4 with its index in front, whose media data declares 200 MB."""
    content = sample("mp4/fast-start")
    at = content.index(b"mdat") - 4
    return content[:at] + struct.pack(">I", 200_000_000) + content[at + 4 :]


def ogg_page(packet: bytes, *, serial: int, first: bool = True) -> bytes:
    segments = [255] * (len(packet) // 255) + [len(packet) % 255]
    head = struct.pack("<4sBBQIII", b"OggS", 0, 2 if first else 0, 0, serial, 0, 0)
    return head + bytes([len(segments), *segments]) + packet


def ogg_theora() -> bytes:
    theora = ogg_page(b"\x80theora\x03\x02\x01" + bytes(32), serial=1)
    return theora + ogg_page(b"\x01vorbis" + bytes(23), serial=2) + ogg_page(bytes(200), serial=1, first=False)


def ole_with_loop() -> bytes:
    """The allocation table leads from the second sector of the main stream back to the first."""
    content = bytearray(office.ole({"WordDocument": office.word_stream()}))
    table = 512 + 512 * struct.unpack_from("<I", content, 76)[0]
    struct.pack_into("<I", content, table + 4, 0)
    return bytes(content)


def ole_with_directory_loop() -> bytes:
    content = bytearray(office.ole({"WordDocument": office.word_stream()}))
    table = 512 + 512 * struct.unpack_from("<I", content, 76)[0]
    directory = struct.unpack_from("<I", content, 48)[0]
    struct.pack_into("<I", content, table + 4 * directory, directory)
    return bytes(content)


def ole_of_two_gigabytes() -> bytes:
    """The directory declares a main stream of 2 GB."""
    content = office.ole({"WordDocument": office.word_stream()})
    at = content.index("WordDocument".encode("utf-16-le")) + 120
    return content[:at] + struct.pack("<Q", 2_000_000_000) + content[at + 8 :]
