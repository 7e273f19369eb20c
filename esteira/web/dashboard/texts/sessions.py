"""The page Sessions."""

from __future__ import annotations

EN = {
    "sessions.title": "Sessions",
    "sessions.lead": "Waiting, running and failed attachments by session: at most {most} sessions, those with most waiting first.",
    "sessions.name": "Session",
    "sessions.ready": "Waiting",
    "sessions.running": "Running",
    "sessions.failed": "Failed in a day",
    "sessions.received": "Last received",
    "sessions.media": "Media",
    "sessions.control": "Control",
    "sessions.show": "Show",
    "sessions.show.of": "Show the media of {session}",
    "sessions.paused": "paused since {since}",
    "sessions.none": "No session has handed over an attachment yet.",
    "sessions.first": "How to send the first one",
}

PT_BR = {
    "sessions.title": "Sessões",
    "sessions.lead": "Anexos esperando, em execução e com falha, por sessão: no máximo {most} sessões, primeiro as que mais esperam.",
    "sessions.name": "Sessão",
    "sessions.ready": "Esperando",
    "sessions.running": "Em execução",
    "sessions.failed": "Falhas em um dia",
    "sessions.received": "Último recebimento",
    "sessions.media": "Mídias",
    "sessions.control": "Controle",
    "sessions.show": "Mostrar",
    "sessions.show.of": "Mostrar as mídias de {session}",
    "sessions.paused": "em pausa desde {since}",
    "sessions.none": "Nenhuma sessão entregou um anexo ainda.",
    "sessions.first": "Como mandar o primeiro",
}
