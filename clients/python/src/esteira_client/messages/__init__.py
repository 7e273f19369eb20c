"""The forms of messages, and the request that each of them becomes. A new form is a module and a line in FORMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from esteira_client.errors import MessageError, OptionError
from esteira_client.messages import baileys, generic, web_form
from esteira_client.messages.hand_over import File, HandOver, Message, WithoutMedia, file_error, to_json

__all__ = ["File", "Form", "HandOver", "Message", "WithoutMedia", "file_error", "hand_over_of", "to_json"]

Form = Literal["generic", "wwebjs", "baileys", "venom", "wppconnect"]
Matches = Callable[[Message], bool]
Make = Callable[[Message, str], HandOver | WithoutMedia]

# The most particular forms first: the first that matches is taken. The generic form alone goes with a file.
FORMS: dict[Form, tuple[Matches, Make]] = {
    "wwebjs": (web_form.is_wwebjs, web_form.wwebjs),
    "baileys": (baileys.matches, baileys.hand_over),
    "venom": (web_form.is_venom, web_form.venom),
    "wppconnect": (web_form.is_wppconnect, web_form.wppconnect),
}


def hand_over_of(
    message: Message, session: str | None, file: File | None = None, form: Form | None = None
) -> HandOver | WithoutMedia:
    """The request for a message of a form, or of the form that it has.

    Raises:
        MessageError: its form is unknown, it has no id, no session or no source, or is no JSON.
        OptionError: there is no such form.
    """
    if not isinstance(message, Mapping):
        raise MessageError(f"a message is a dict, not {type(message).__name__}")
    name = message.get("session") if session is None else session
    if not (isinstance(name, str) and name.strip()):
        raise MessageError("the session is missing")
    sent = _hand_over(message, name, file, form)
    if isinstance(sent, HandOver):
        sent.form_fields() if sent.file is not None else sent.json
    return sent


def _hand_over(message: Message, session: str, file: File | None, form: Form | None) -> HandOver | WithoutMedia:
    if form == "generic" or (form is None and generic.matches(message)):
        return generic.hand_over(message, session, file)
    if file is not None:
        raise MessageError("a file goes with the generic form: message_id, kind and more")
    if form is not None and form not in FORMS:
        raise OptionError(f"form is one of generic, {', '.join(FORMS)}")
    matching = (make for matches, make in FORMS.values() if matches(message))
    make = FORMS[form][1] if form else next(matching, None)
    if make is None:
        raise MessageError("a message of an unknown form: no message_id, no key, no id with a type")
    return make(message, session)
