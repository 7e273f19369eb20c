"""Pauses, on all pages."""

from __future__ import annotations

EN = {
    "pauses.stage.since": "Stage {name} paused since {since}",
    "pauses.session.since": "Session {name} paused since {since}",
    "pauses.by": "by {name}",
    "pauses.more": "and {count} more",
    "pauses.stage.waits": "waits: stage {name} paused since {since}",
    "pauses.session.waits": "waits: session {name} paused since {since}",
    "pauses.stage.title": "Pause the stage {name}?",
    "pauses.session.title": "Pause the session {name}?",
    "pauses.stage.lead": "Attachments of all sessions wait before this stage, also across restarts, until someone resumes it. Steps in progress are completed.",
    "pauses.session.lead": "Attachments of this session are accepted and wait, also across restarts, until someone resumes it. Those in progress are completed.",
    "pauses.reason": "Reason (shown to everyone)",
    "pauses.close": "Do not pause",
}

PT_BR = {
    "pauses.stage.since": "Etapa {name} em pausa desde {since}",
    "pauses.session.since": "Sessão {name} em pausa desde {since}",
    "pauses.by": "por {name}",
    "pauses.more": "e mais {count}",
    "pauses.stage.waits": "espera: etapa {name} em pausa desde {since}",
    "pauses.session.waits": "espera: sessão {name} em pausa desde {since}",
    "pauses.stage.title": "Pausar a etapa {name}?",
    "pauses.session.title": "Pausar a sessão {name}?",
    "pauses.stage.lead": "Os anexos de todas as sessões esperam antes desta etapa, mesmo depois de reinícios, até alguém retomar. Passos em andamento são concluídos.",
    "pauses.session.lead": "Os anexos desta sessão são aceitos e esperam, mesmo depois de reinícios, até alguém retomar. Os que estão em andamento são concluídos.",
    "pauses.reason": "Motivo (todos veem)",
    "pauses.close": "Não pausar",
}
