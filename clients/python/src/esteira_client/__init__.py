"""The client of Esteira for listeners in Python: hands media over, and keeps them while the server is away.

from esteira_client import Client

client = Client("http://127.0.0.1:8000", token)
receipt = client.process_media({"message_id": "m1", "url": "https://…", "kind": "image"}, "shop")
"""

from esteira_client.async_client import AsyncClient, AsyncContent
from esteira_client.client import Client, Content
from esteira_client.errors import (
    ConflictError,
    EsteiraError,
    ForbiddenError,
    MessageError,
    NotFoundError,
    OptionError,
    RefusedError,
    SpoolError,
    SpoolFullError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    WebhookError,
)
from esteira_client.receipts import AcceptedAttachment, Receipt
from esteira_client.spool import SpoolOptions
from esteira_client.webhooks import verify

__version__ = "0.2.0"

__all__ = [
    "AcceptedAttachment",
    "AsyncClient",
    "AsyncContent",
    "Client",
    "ConflictError",
    "Content",
    "EsteiraError",
    "ForbiddenError",
    "MessageError",
    "NotFoundError",
    "OptionError",
    "Receipt",
    "RefusedError",
    "SpoolError",
    "SpoolFullError",
    "SpoolOptions",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "WebhookError",
    "verify",
]
