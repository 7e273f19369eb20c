"""The gateways' own servers, as far as files are downloaded from them: written from their documentation."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from tests.support.media_server import Answer, MediaServer, Request
from tests.support.tls import server_context

GONE = Answer(410)
# As the Graph API sends it: the message holds the token, and the code does not say why an id is unknown.
MALFORMED_TOKEN = {"error": {"message": "Malformed access token EAAx", "type": "OAuthException", "code": 190}}
UNKNOWN_ID = {
    "error": {
        "message": "Unsupported get request. Object with ID '1' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation",
        "type": "GraphMethodException",
        "code": 100,
        "error_subcode": 33,
    }
}


class WhatsAppServer(MediaServer):
    """WhatsApp's media servers: ciphertext by its direct path, over TLS. `lost` paths are 410, as after a month.

    `env(folder)` makes a process fetch WhatsApp's media from here.
    """

    def __init__(self) -> None:
        self._authority = trustme.CA()
        super().__init__(tls=server_context(self._authority, "127.0.0.1"))
        self.lost: set[str] = set()

    def env(self, folder: Path) -> dict[str, str]:
        trusted = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(trusted))
        return {"WHATSAPP_HOSTS": f"127.0.0.1:{self.port}", "SSL_CERT_FILE": str(trusted)}

    def hold(self, direct_path: str, ciphertext: bytes) -> None:
        """Gives these bytes out under this path, whatever its query says."""
        self.files[direct_path.partition("?")[0].removeprefix("/")] = ciphertext

    def reply(self, request: Request, name: str) -> Answer | None:
        return GONE if f"/{name}" in self.lost else super().reply(request, name)


class WahaServer(MediaServer):
    """WAHA: `/api/files/…` and messages by their ids, with the API key.

    `messages` are the files of messages by their ids; asked for with downloadMedia, a message has its file saved anew
    and names a URL for it.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.messages: dict[str, tuple[str, bytes]] = {}
        self._numbers = itertools.count(1)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, request: Request, name: str) -> Answer | None:
        if request.headers.get("x-api-key") != self.key:
            return json_answer(401, {"message": "Unauthorized", "statusCode": 401})
        parts = [unquote(part) for part in urlsplit(request.path).path.split("/")]
        if len(parts) == 7 and (parts[1], parts[3], parts[5]) == ("api", "chats", "messages"):
            return self._message(session=parts[2], message_id=parts[6], query=urlsplit(request.path).query)
        return super().reply(request, name)

    def _message(self, *, session: str, message_id: str, query: str) -> Answer:
        if message_id not in self.messages:
            return json_answer(404, {"message": "Message not found", "statusCode": 404})
        media = None
        if parse_qs(query).get("downloadMedia") == ["true"]:
            mimetype, content = self.messages[message_id]
            place = f"api/files/{session}/again{next(self._numbers)}.{mimetype.partition('/')[2]}"
            self.files[place] = content
            media = {"url": f"{self.base}/{place}", "mimetype": mimetype, "filename": None, "error": None}
        return json_answer(200, {"id": message_id, "hasMedia": True, "media": media})


class GowaServer(MediaServer):
    """GOWA: the files below `statics/`, and messages by their ids, with the login of a user.

    `messages` are the files of messages by their ids; asked to download one, GOWA saves it anew and names its path.
    """

    def __init__(self, login: str) -> None:
        super().__init__()
        self.login = login
        self.messages: dict[str, tuple[str, bytes]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, request: Request, name: str) -> Answer | None:
        login = base64.b64encode(self.login.encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return Answer(401, {"WWW-Authenticate": "basic realm=Restricted"})
        parts = [unquote(part) for part in urlsplit(request.path).path.split("/")]
        if len(parts) == 4 and (parts[1], parts[3]) == ("message", "download"):
            return self._download(parts[2], chat=parse_qs(urlsplit(request.path).query)["phone"][0])
        return super().reply(request, name)

    def _download(self, message_id: str, *, chat: str) -> Answer:
        if message_id not in self.messages:
            return json_answer(500, {"status": 500, "code": "INTERNAL_SERVER_ERROR", "message": "message not found"})
        mimetype, content = self.messages[message_id]
        path = f"statics/media/{chat.partition('@')[0]}/2026-09-21/{message_id}.{mimetype.partition('/')[2]}"
        self.files[path] = content
        results = {"message_id": message_id, "file_path": path, "file_size": len(content)}
        return json_answer(200, {"status": 200, "code": "SUCCESS", "results": results})


class GraphServer(MediaServer):
    """Meta's Graph API: a media id becomes a URL, a URL gives its bytes once, both only with the number's token.

    `media` are the files by their ids as (type, bytes), `token_of` says whose token opens an id; `tokens` are all.
    `links` are URLs that it names instead of its own, by id.
    """

    def __init__(self, *tokens: str) -> None:
        super().__init__()
        self.tokens = tokens
        self.media: dict[str, tuple[str, bytes]] = {}
        self.token_of: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self._urls: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v23.0"

    def reply(self, request: Request, name: str) -> Answer | None:
        if answer := super().reply(request, name):
            return answer
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return json_answer(401, MALFORMED_TOKEN)
        version, _, rest = name.partition("/")
        if version == "v23.0":
            return self._url_of(rest, token)
        return self._bytes_of(name, token) if version == "bytes" else Answer(404)

    def _url_of(self, media_id: str, token: str) -> Answer:
        if media_id not in self.media or self.token_of.get(media_id, token) != token:
            return json_answer(400, UNKNOWN_ID)
        mimetype, content = self.media[media_id]
        place = f"bytes/{next(self._numbers)}"
        with self._lock:
            self._urls[place] = media_id
        return json_answer(
            200,
            {
                "url": self.links.get(media_id, f"http://127.0.0.1:{self.port}/{place}?hash=signature"),
                "mime_type": mimetype,
                "sha256": hashlib.sha256(content).hexdigest(),
                "file_size": len(content),
                "id": media_id,
                "messaging_product": "whatsapp",
            },
        )

    def _bytes_of(self, place: str, token: str) -> Answer:
        with self._lock:
            media_id = self._urls.pop(place, None)
        if media_id is None or self.token_of.get(media_id, token) != token:
            return Answer(404)
        return Answer(200, {"Content-Type": self.media[media_id][0]}, self.media[media_id][1])


class EvolutionServer(MediaServer):
    """Evolution API: a message's file in base64, downloaded anew, with the instance's key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.messages: dict[str, tuple[str, bytes]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, request: Request, name: str) -> Answer | None:
        if request.headers.get("apikey") != self.key:
            return json_answer(401, {"status": 401, "error": "Unauthorized"})
        if request.method != "POST" or not name.startswith("chat/getBase64FromMediaMessage/"):
            return Answer(404)
        message_id = json.loads(request.body)["message"]["key"]["id"]
        if message_id not in self.messages:
            return json_answer(
                400, {"status": 400, "error": "Bad Request", "response": {"message": ["Message not found"]}}
            )
        mimetype, content = self.messages[message_id]
        return json_answer(201, {"mimetype": mimetype, "base64": base64.b64encode(content).decode()})


class WppconnectServer(MediaServer):
    """WPPConnect Server: a message's file in base64, with the session's token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.messages: dict[str, tuple[str, bytes]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, request: Request, name: str) -> Answer | None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return json_answer(401, {"error": "Check that the Session and Token are correct"})
        parts = [unquote(part) for part in urlsplit(request.path).path.split("/")]
        if len(parts) != 5 or (parts[1], parts[3]) != ("api", "get-media-by-message"):
            return Answer(404)
        if parts[4] not in self.messages:
            return json_answer(400, {"status": "error", "message": "Message not found"})
        mimetype, content = self.messages[parts[4]]
        return json_answer(200, {"base64": base64.b64encode(content).decode(), "mimetype": mimetype})


def json_answer(status: int, content: object, **headers: str) -> Answer:
    """An answer with this JSON; headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/json", **named}, json.dumps(content).encode())
