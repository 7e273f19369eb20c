"""As mensagens de erro em português do Brasil, por seus modelos em inglês.

Um nome entre chaves é um valor que a mensagem contém. O valor é traduzido também, se for uma mensagem conhecida.
"""

from __future__ import annotations

from pipeline.remedies.portuguese_messages import fetch, gateways, sandbox, stores, types

_OTHERS = {
    "it was cancelled": "foi cancelado",
    "{count} workers died while they held it": "{count} workers morreram enquanto o processavam",
    "its workers died of it": "seus workers morreram por causa dele",
    "{name} has been taken over or has ended": "{name} foi assumido por outro worker ou terminou",
    "the endpoint answered {status}": "o endpoint respondeu {status}",
    "given up while the endpoint was unreachable: {reason}": "desistido com o endpoint fora do ar: {reason}",
    "endpoint {name} is no longer in the settings": "o endpoint {name} não está mais na configuração",
    "the attachment was deleted": "o anexo foi excluído",
}
MESSAGES = {
    **fetch.MESSAGES,
    **gateways.MESSAGES,
    **types.MESSAGES,
    **sandbox.MESSAGES,
    **stores.MESSAGES,
    **_OTHERS,
}
