"""As mensagens de pedidos aos gateways."""

from __future__ import annotations

MESSAGES = {
    "Meta could not download the file: {reason}": "a Meta não conseguiu baixar o arquivo: {reason}",
    "WAHA could not download the file: {reason}": "o WAHA não conseguiu baixar o arquivo: {reason}",
    "no reason given": "sem motivo informado",
    "WAHA did not download the file: {reason}": "o WAHA não baixou o arquivo: {reason}",
    "{name} gives out only the first file of a message": "{name} entrega só o primeiro arquivo de uma mensagem",
    "{name} is asked by the chat of the message, which is not known": (
        "a consulta a {name} usa a conversa da mensagem, que não é conhecida"
    ),
    "GOWA sent neither the path nor the URL of the file": "o GOWA não enviou nem o caminho nem a URL do arquivo",
    "GOWA sent WhatsApp's URL without the key of the file: set WHATSAPP_AUTO_DOWNLOAD_MEDIA=true in GOWA's "
    "environment": (
        "o GOWA enviou a URL do WhatsApp sem a chave do arquivo: defina WHATSAPP_AUTO_DOWNLOAD_MEDIA=true no ambiente "
        "do GOWA"
    ),
    "GOWA names no file below statics/": "o GOWA não indica um arquivo dentro de statics/",
    "the file is on GOWA's server: set GOWA_URL to the address of that server as reached from here": (
        "o arquivo está no servidor do GOWA: defina GOWA_URL com o endereço desse servidor visto daqui"
    ),
    "the path is not that of a file below statics/ on GOWA's server": (
        "o caminho não é de um arquivo dentro de statics/ no servidor do GOWA"
    ),
    "it waits for its turn to ask {name} (REUPLOAD_PER_MINUTE)": (
        "espera a vez de pedir a {name} (REUPLOAD_PER_MINUTE)"
    ),
    "{name}'s answer cannot be read: {reason}; check the server's URL": (
        "a resposta de {name} não pode ser lida: {reason}; confira a URL do servidor"
    ),
    "the message's id, chat or session cannot be a part of a URL": (
        "o id da mensagem, a conversa ou a sessão não pode fazer parte de uma URL"
    ),
    "{source}; {name}'s answer cannot be read: {reason}; check the server's URL": (
        "{source}; a resposta de {name} não pode ser lida: {reason}; confira a URL do servidor"
    ),
    "it is no JSON": "não é JSON",
    "it is no JSON object": "não é um objeto JSON",
    "it has no {member}": "não tem {member}",
    "it has more than {count} bytes before {member}": "tem mais de {count} bytes antes de {member}",
    "it is longer than {count} bytes": "tem mais de {count} bytes",
    "it ends in the middle": "termina no meio",
    "its text has escapes": "o texto tem escapes",
    "its base64 is invalid": "o base64 é inválido",
    "{source}; {name} was asked: {reason}": "{source}; perguntado, {name}: {reason}",
    "{source}; {name} answers {status}: {said} (it knows only messages that it saves: see "
    "DATABASE_SAVE_DATA_NEW_MESSAGE in its environment)": (
        "{source}; {name} responde {status}: {said} (só conhece mensagens que guarda: veja "
        "DATABASE_SAVE_DATA_NEW_MESSAGE no ambiente dela)"
    ),
    "{source}; WAHA did not download the file: {reason}": "{source}; o WAHA não baixou o arquivo: {reason}",
    "it names no file; see its WHATSAPP_DOWNLOAD_MEDIA": "não indica um arquivo; veja o WHATSAPP_DOWNLOAD_MEDIA dele",
    "{message}; check {setting}": "{message}; confira {setting}",
    "{message}: a redirect is not followed, check the server's URL": (
        "{message}: redirecionamentos não são seguidos, confira a URL do servidor"
    ),
    "{message}; its other source: {other}": "{message}; a outra origem: {other}",
    "{message}; {server} has the file": "{message}; {server} tem o arquivo",
    "WAHA did not download the file; see its setting WAHA_EVENTS_DOWNLOAD_MEDIA": (
        "o WAHA não baixou o arquivo; veja a configuração WAHA_EVENTS_DOWNLOAD_MEDIA dele"
    ),
    "no access token is set for this phone number: set CLOUD_ACCESS_TOKEN or CLOUD_ACCESS_TOKENS": (
        "não há token de acesso para este número: defina CLOUD_ACCESS_TOKEN ou CLOUD_ACCESS_TOKENS"
    ),
    "the Graph API's reply contains no URL": "a resposta da Graph API não contém URL",
    "the Graph API's reply is too long": "a resposta da Graph API é longa demais",
    "the access token is only sent over https": "o token de acesso só é enviado por https",
    "the Graph API is unavailable or limits the number of calls (its code {code})": (
        "a Graph API está indisponível ou limita o número de chamadas (código {code} dela)"
    ),
    "the Graph API refuses the access token (its code {code})": (
        "a Graph API recusa o token de acesso (código {code} dela)"
    ),
    "the Graph API does not know the media id: it has expired, or belongs to another access token": (
        "a Graph API não conhece o id da mídia: expirou, ou é de outro token de acesso"
    ),
}
