"""The media in WhatsApp's own message: every node with a path and a key, in any wrapper, and no thumbnail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from pipeline.gateways.flow_media import flow_media
from pipeline.gateways.message_content import media_nodes, node_kind
from pipeline.models import Attachment, Kind
from tests.pipeline.gateways.test_named_media import HASH, KEY, PATH, evolution, only, waha
from tests.support.json_shapes import ANY_JSON

NODE = {"directPath": PATH, "mediaKey": KEY, "fileSha256": HASH, "mimetype": "image/jpeg"}
THUMBNAIL = {"thumbnailDirectPath": PATH, "mediaKey": KEY, "thumbnailSha256": HASH, "jpegThumbnail": "/9j/"}
FILE = {"file_name": "a.jpg", "mime_type": "image/jpeg", "sha256": HASH}
WRAPPERS = (
    *("ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension", "editedMessage"),
    *("documentWithCaptionMessage", "associatedChildMessage", "groupStatusMessage", "groupStatusMessageV2"),
    *("botInvokeMessage", "botForwardedMessage", "commentMessage", "groupMentionedMessage", "eventCoverImage"),
    *("statusMentionMessage", "pollCreationOptionImageMessage", "deviceSentMessage", "questionMessage"),
)


def found(content: Any) -> list[tuple[Kind | None, Any]]:
    return [(node_kind(*node), node[1].get("directPath")) for node in media_nodes(content, at_most=10)]


def flow(answer: Any) -> dict[str, Any]:
    response = {"name": "flow", "paramsJson": json.dumps(answer), "version": 3}
    return {"interactiveResponseMessage": {"body": {"text": "Sent"}, "nativeFlowResponseMessage": response}}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_medium_in_a_wrapper_is_found(wrapper: str) -> None:
    content = {wrapper: {"message": {"videoMessage": NODE}}}
    assert found(content) == found({"ephemeralMessage": {"message": content}}) == [(Kind.VIDEO, PATH)]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"ptvMessage": NODE}, Kind.VIDEO),
        ({"lottieStickerMessage": {"message": {"stickerMessage": NODE}}}, Kind.STICKER),
        ({"stickerPackMessage": {**NODE, "name": "Gatos", "trayIconFileName": "tray.webp"}}, Kind.DOCUMENT),
        ({"productMessage": {"product": {"productImage": NODE, "title": "Camisa"}}}, Kind.IMAGE),
        ({"productMessage": {"catalog": {"catalogImage": NODE}}}, Kind.IMAGE),
        ({"interactiveMessage": {"header": {"documentMessage": NODE}}}, Kind.DOCUMENT),
        ({"interactiveMessage": {"carouselMessage": {"cards": [{"header": {"imageMessage": NODE}}]}}}, Kind.IMAGE),
        ({"interactiveMessage": {"header": {"productMessage": {"product": {"productImage": NODE}}}}}, Kind.IMAGE),
        ({"templateMessage": {"hydratedFourRowTemplate": {"videoMessage": NODE}}}, Kind.VIDEO),
        ({"buttonsMessage": {"imageMessage": NODE}}, Kind.IMAGE),
        ({"messageOfTheFuture": {"content": {"file": NODE}}}, None),
        ({"messageOfTheFuture": NODE}, None),
    ],
)
def test_medium_is_found_whatever_holds_it(content: Any, kind: Kind | None) -> None:
    assert found(content) == [(kind, PATH)]
    attachment = only(evolution(message=content))
    assert (attachment.kind, attachment.direct_path, attachment.media_key) == (kind, PATH, KEY)
    assert only(waha({"message": content})).direct_path == PATH


@pytest.mark.parametrize(
    "content",
    [
        {"extendedTextMessage": {"text": "https://a", **THUMBNAIL}},
        {"extendedTextMessage": {"text": "oi", "contextInfo": {"quotedMessage": {"imageMessage": NODE}}}},
        {"protocolMessage": {"type": 14, "editedMessage": {"imageMessage": NODE}}},
        {"editedMessage": {"message": {"protocolMessage": {"editedMessage": {"imageMessage": NODE}}}}},
        {"protocolMessage": {"historySyncNotification": NODE}},
        {"messageHistoryBundle": NODE},
        {"requestPaymentMessage": {"background": {"mediaData": NODE}}},
        {"albumMessage": {"expectedImageCount": 2}},
        {"locationMessage": {"jpegThumbnail": "/9j/"}},
        {"listMessage": {"productListInfo": {"headerImage": {"productId": "1", "jpegThumbnail": "/9j/"}}}},
        {"conversation": "oi", "messageContextInfo": {"botMetadata": {"memory": NODE}}},
        {"messageOfTheFuture": {**NODE, "mediaKey": {"type": "Buffer", "data": []}}},
    ],
)
def test_thumbnails_edits_and_metadata_are_no_media(content: Any) -> None:
    assert found(content) == []
    assert evolution(message=content).ignored == 1


def test_sticker_pack_is_its_archive_and_not_its_cover() -> None:
    pack = {**NODE, **THUMBNAIL, "mimetype": None, "name": "Gatos", "stickers": [{"fileName": "a.webp"}]}
    content = {"stickerPackMessage": pack}
    for attachment in (only(evolution(message=content)), only(waha({"message": content}))):
        assert (attachment.direct_path, attachment.mimetype, attachment.filename) == (PATH, "application/zip", "Gatos")


def test_invoice_has_its_file() -> None:
    invoice = {"attachmentDirectPath": PATH, "attachmentMediaKey": KEY, "attachmentMimetype": "application/pdf"}
    attachment = only(evolution(message={"invoiceMessage": {**invoice, "attachmentFileSha256": HASH, "note": "nota"}}))
    assert (attachment.direct_path, attachment.media_key, attachment.mimetype) == (PATH, KEY, "application/pdf")
    assert attachment.file_sha256
    assert evolution(message={"invoiceMessage": {"note": "nota"}}).ignored == 1


# --- Flows ---


def files(answer: Any) -> list[Attachment]:
    return list(evolution(message=flow(answer)).attachments)


def test_files_of_a_flow_are_parts_with_their_names() -> None:
    with_path = {**FILE, "media_key": KEY, "direct_path": PATH, "enc_sha256": HASH}
    first, second = files({"photo_picker": [with_path, {**FILE, "id": 36}], "flow_token": "x", "choice": "a"})
    assert (first.part, first.direct_path, first.media_key, first.filename) == (0, PATH, KEY, "a.jpg")
    assert (second.part, second.direct_path, second.url, second.filename) == (1, None, None, "a.jpg")
    assert first.file_sha256 == second.file_sha256


def test_file_that_only_the_endpoint_of_the_flow_can_decrypt_has_no_source() -> None:
    (attachment,) = files([{**FILE, "cdn_url": "https://mmg.whatsapp.net/x", "encryption_metadata": {"iv": "a"}}])
    assert (attachment.url, attachment.direct_path) == (None, None)
    assert files([{**FILE, "cdn_url": "https://a/x", "encryption_metadata": {}}])[0].url == "https://a/x"


@pytest.mark.parametrize(
    "answer",
    [
        {"flow_token": "x", "choice": ["a"], "id": "7"},
        {"person": {"id": "7", "name": "Ana"}},
        {"photo_picker": [{"file_name": "a.jpg", "id": ""}]},
        {"photo_picker": []},
        [[[[[[[[[[FILE]]]]]]]]]],
        "text",
        7,
    ],
)
def test_answer_of_a_flow_without_files_is_ignored(answer: Any) -> None:
    assert evolution(message=flow(answer)).ignored == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"' + "x" * 2_000_000 + '"', None, 7, {"id": 1}])
def test_text_that_is_no_answer_has_no_files(text: Any) -> None:
    assert list(flow_media(text)) == []


@given(ANY_JSON)
def test_content_of_any_form_is_walked(content: Any) -> None:
    media_nodes(content, at_most=10)
    list(flow_media(json.dumps(content)))
