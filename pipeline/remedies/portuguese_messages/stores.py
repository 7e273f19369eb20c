"""As mensagens do catálogo, do armazenamento e do Redis."""

from __future__ import annotations

MESSAGES = {
    "cannot read the staged file: {error}": "não é possível ler o arquivo temporário: {error}",
    "cannot write to the staging directory: {error}": "não é possível gravar no diretório temporário: {error}",
    "the staged file {name} is not on this machine": "o arquivo temporário {name} não está nesta máquina",
    "storage cannot be {doing}: {error}": "o armazenamento não pode ser {doing}: {error}",
    "read": "lido",
    "written": "gravado",
    "storage does not hold this content": "o armazenamento não tem este conteúdo",
    "this is not a storage key": "isto não é uma chave de armazenamento",
    "this key leads out of storage": "esta chave leva para fora do armazenamento",
    "the object store received {size} bytes and reports {reported}": (
        "o armazenamento de objetos recebeu {size} bytes e informa {reported}"
    ),
    "nothing": "nada",
    "the object store {reason}": "o armazenamento de objetos {reason}",
    "answered {status}": "respondeu {status}",
    "cannot be reached ({reason})": "não pode ser alcançado ({reason})",
    "the catalogue {name} is busy": "o catálogo {name} está ocupado",
    "the catalogue {name} has no free connection": "o catálogo {name} não tem conexão livre",
    "the catalogue {name} cannot be used now: {reason}": "o catálogo {name} não pode ser usado agora: {reason}",
    "the catalogue {name} closed the connection: {reason}": "o catálogo {name} fechou a conexão: {reason}",
    "the catalogue cannot hold this: {reason}": "o catálogo não aceita isto: {reason}",
    "the catalogue was not written": "o catálogo não foi gravado",
    "the source is encrypted with the key {name}, which is not set: add it to ENCRYPTION_KEYS and restart; "
    "`esteira rotate-keys --dry-run` counts the rows of each key": (
        "a origem está cifrada com a chave {name}, que não está definida: inclua-a em ENCRYPTION_KEYS e reinicie; "
        "`esteira rotate-keys --dry-run` conta as linhas de cada chave"
    ),
    "the source is damaged: the key {name} does not decrypt it; restore the row from a backup": (
        "a origem está danificada: a chave {name} não a decifra; restaure a linha de um backup"
    ),
    "No such file or directory": "arquivo ou diretório não existe",
    "No space left on device": "não há espaço no disco",
    "Permission denied": "permissão negada",
    "Read-only file system": "sistema de arquivos somente leitura",
    "Input/output error": "erro de entrada e saída",
    "Disk quota exceeded": "cota de disco esgotada",
    "Too many open files": "arquivos abertos demais",
    "Cannot allocate memory": "memória insuficiente",
    "Connection refused": "conexão recusada",
    "Operation not permitted": "operação não permitida",
}
