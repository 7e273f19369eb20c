"""No secret is in a response of the API or in its log."""

from __future__ import annotations

import base64

from pydantic import SecretStr

from pipeline.models import Status
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN, web_server

ALL = {"Authorization": f"Bearer {TOKEN}"}
MEDIA_KEY = base64.b64encode(bytes(range(32))).decode()
SOURCE = "https://us3r:passw0rd@media.example/x.enc?oh=s1gnature"


def test_api_07_no_secret_is_logged_or_returned(system: RunningSystem) -> None:
    attachment = system.attachment(session="shop", url=SOURCE, direct_path="/v/x?oh=s1gnature", media_key=MEDIA_KEY)
    record = finished(system.services.catalogue, Status.FAILED, of=attachment)
    signer = TokenSigner(SecretStr(TOKEN))
    token = signer.session_token("shop", gateway="media", days=1)
    link, _ = signer.link(record.id, seconds=60)
    signature = link.rpartition("=")[2]
    shown = {"Authorization": f"Bearer {token}"}
    asked = [
        ("GET", "/media", None, ALL),
        ("GET", "/media?next=x&session=shop", None, shown),
        ("GET", f"/media/{record.id}", None, shown),
        ("GET", link, None, {}),
        ("GET", link + "0", None, {}),
        ("GET", "/media", None, {"Authorization": f"Bearer {token}x"}),
        ("POST", f"/media/{record.id}/replay", b'{"url": "%s", "media_key": 5}' % SOURCE.encode(), ALL),
        ("POST", "/media/replay", b'{"session": "shop"}', ALL),
        ("POST", f"/media/{record.id}/link", b'{"seconds": "x"}', ALL),
        ("DELETE", f"/media/{record.id}", None, ALL),
        ("DELETE", f"/media/{record.id}", None, shown),
    ]
    with web_server(system, log_level="debug") as server:
        answers = [server.request(method, path, body, headers=headers) for method, path, body, headers in asked]
        told = server.log_text() + "".join(answer.body.decode() + str(answer.headers) for answer in answers)
    assert {answer.status for answer in answers} >= {200, 202, 400, 401, 403, 404}
    assert server.log_text()
    for secret in (TOKEN, token, signature, MEDIA_KEY, "passw0rd", "us3r", "s1gnature", "Traceback"):
        assert secret not in told, secret
