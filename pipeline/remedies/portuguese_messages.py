"""As mensagens de erro em português do Brasil, por seus modelos em inglês.

Um nome entre chaves é um valor que a mensagem contém. O valor é traduzido também, se for uma mensagem conhecida.
"""

from __future__ import annotations

_FETCH = {
    "the attachment has no URL": "o anexo não tem URL",
    "the media id is malformed": "o id da mídia é inválido",
    "the message has no media id": "a mensagem não tem id de mídia",
    "the media key is not {size} bytes in base64 or hex": "a chave de mídia não tem {size} bytes em base64 ou hex",
    "the encrypted file was changed, or the media key belongs to another file": (
        "o arquivo cifrado foi alterado, ou a chave de mídia é de outro arquivo"
    ),
    "the direct path is not a plain path": "o direct_path não é um caminho simples",
    "the file is empty": "o arquivo está vazio",
    "the file is larger than {limit} bytes": "o arquivo tem mais de {limit} bytes",
    "the file is larger than {limit} bytes ({setting})": "o arquivo tem mais de {limit} bytes ({setting})",
    "the encrypted file does not have the hash that the message declares": (
        "o arquivo cifrado não tem o hash que a mensagem declara"
    ),
    "the file does not have the hash that the message declares": "o arquivo não tem o hash que a mensagem declara",
    "the file does not have the size that the message declares": "o arquivo não tem o tamanho que a mensagem declara",
    "only http and https URLs are allowed": "só URLs http e https são permitidas",
    "the URL is malformed": "a URL é inválida",
    "the URL contains a user name": "a URL contém um nome de usuário",
    "the URL has no host name, or one that is too long": "a URL não tem nome de servidor, ou tem um longo demais",
    "the host name is malformed": "o nome do servidor é inválido",
    "the host is an IP address in an unusual form": "o servidor é um endereço IP em forma incomum",
    "port {port} is not allowed": "a porta {port} não é permitida",
    "{host} is not a public address": "{host} não é um endereço público",
    "{host} is not allowed: {reason}": "{host} não é permitido: {reason}",
    "a file with a media key is only downloaded from the hosts in WHATSAPP_HOSTS": (
        "um arquivo com chave de mídia só é baixado dos servidores de WHATSAPP_HOSTS"
    ),
    "{host} cannot be resolved": "o nome {host} não pôde ser resolvido",
    "{host} was not resolved in time": "o nome {host} não foi resolvido a tempo",
    "the host name has no address": "o nome do servidor não tem endereço",
    "the server did not accept the connection in time": "o servidor não aceitou a conexão a tempo",
    "the server closed the connection": "o servidor fechou a conexão",
    "the server refuses connections or is unreachable": "o servidor recusa conexões ou está inacessível",
    "{host}: {reason}": "{host}: {reason}",
    "certificate has expired": "o certificado expirou",
    "certificate is not yet valid": "o certificado ainda não é válido",
    "self-signed certificate": "o certificado é autoassinado",
    "self-signed certificate in certificate chain": "há um certificado autoassinado na cadeia",
    "unable to get local issuer certificate": "o emissor do certificado é desconhecido",
    "unable to verify the first certificate": "o primeiro certificado não pode ser verificado",
    "Hostname mismatch, certificate is not valid for {name}.": "o certificado não vale para {name}",
    "{host} offers no secure TLS": "{host} não oferece TLS seguro",
    "{host} did not finish the TLS handshake in time": "{host} não concluiu a negociação TLS a tempo",
    "{host} closed the connection during the TLS handshake": "{host} fechou a conexão durante a negociação TLS",
    "{host} did not answer in time": "{host} não respondeu a tempo",
    "{host} closed the connection": "{host} fechou a conexão",
    "{host} closed the connection before the end of the file": "{host} fechou a conexão antes do fim do arquivo",
    "the connection to {host} was lost": "a conexão com {host} caiu",
    "{host} answers {status}": "{host} responde {status}",
    "{host} answers {status}: it refuses these credentials": "{host} responde {status}: recusa estas credenciais",
    "{host} sent an invalid HTTP response: {reason}": "{host} enviou uma resposta HTTP inválida: {reason}",
    "it has too many headers": "tem cabeçalhos demais",
    "it has no HTTP/1.x status line": "não tem a linha de status HTTP/1.x",
    "its status is {status}": "o status é {status}",
    "its head is too long": "o cabeçalho é longo demais",
    "its chunks hold too much framing for their content": "os blocos têm controle demais para o seu conteúdo",
    "it switches to another protocol": "muda para outro protocolo",
    "the response's Transfer-Encoding leaves its length unclear": (
        "o Transfer-Encoding da resposta deixa o tamanho indefinido"
    ),
    "the response is compressed although that was not requested": "a resposta está comprimida sem que se pedisse",
    "the redirect's Location is too long": "o Location do redirecionamento é longo demais",
    "the proxy {name} {reason}": "o proxy {name} {reason}",
    "does not reach {host}: {reason}": "não alcança {host}: {reason}",
    "has no address": "não tem endereço",
    "it answers {status}": "ele responde {status}",
    "answers {status} to CONNECT": "responde {status} a CONNECT",
    "answers 407: it refuses the login in FETCH_PROXY": "responde 407: recusa o login de FETCH_PROXY",
    "answers 407: it wants a login in FETCH_PROXY": "responde 407: pede um login em FETCH_PROXY",
    "refuses the login in FETCH_PROXY": "recusa o login de FETCH_PROXY",
    "does not answer as an HTTP proxy": "não responde como um proxy HTTP",
    "does not answer as a SOCKS 5 proxy": "não responde como um proxy SOCKS 5",
    "does not answer in time": "não responde a tempo",
    "closes the connection": "fecha a conexão",
    "sends a response before the request": "envia uma resposta antes do pedido",
    "it has a fault": "ele tem um defeito",
    "its network is unreachable": "a rede dele está inacessível",
    "its host is unreachable": "o servidor está inacessível",
    "it refuses the connection": "ele recusa a conexão",
    "it does not answer in time": "ele não responde a tempo",
    "the command is not supported": "o comando não é suportado",
    "this kind of address is not supported": "este tipo de endereço não é suportado",
    "wants a login, and FETCH_PROXY has none": "pede um login, e FETCH_PROXY não tem nenhum",
    "offers no login by password": "não oferece login por senha",
    "does not allow connections to this server": "não permite conexões a este servidor",
    "{host} redirects more than {count} times": "{host} redireciona mais de {count} vezes",
    "{host} redirects without a Location": "{host} redireciona sem Location",
    "{host} redirects from https to http": "{host} redireciona de https para http",
    "{host} redirects to a URL that is not allowed": "{host} redireciona para uma URL que não é permitida",
    "{count} files are already being downloaded from {host}": "{count} arquivos já estão sendo baixados de {host}",
    "the rate limit of {host} is reached": "o limite de ritmo de {host} foi atingido",
    "another attachment with this content is being fetched": "outro anexo com este conteúdo está sendo baixado",
    "{fields}: not valid any more": "{fields}: não é mais válido",
}
_GATEWAYS = {
    "Meta could not download the file: {reason}": "a Meta não conseguiu baixar o arquivo: {reason}",
    "WAHA could not download the file: {reason}": "o WAHA não conseguiu baixar o arquivo: {reason}",
    "no reason given": "sem motivo informado",
    "WAHA did not download the file: {reason}": "o WAHA não baixou o arquivo: {reason}",
    **{
        f"{name} gives out only the first file of a message": f"{name} entrega só o primeiro arquivo de uma mensagem"
        for name in ("WAHA", "Evolution API", "GOWA", "WPPConnect")
    },
    **{
        f"{name} is asked by the chat of the message, which is not known": (
            f"a consulta a {name} usa a conversa da mensagem, que não é conhecida"
        )
        for name in ("WAHA", "GOWA")
    },
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
_TYPES = {
    "{mime} is not accepted": "{mime} não é aceito",
    "{mime} is not accepted{remedy}": "{mime} não é aceito{remedy}",
    "{message}; add {name} to ALLOWED_TYPES to accept it": "{message}; inclua {name} em ALLOWED_TYPES para aceitá-lo",
    "{message}; MISMATCH=correct accepts it as what it is": "{message}; MISMATCH=correct o aceita como o que ele é",
    "declared as {name}; it {reason}": "declarado como {name}; o arquivo {reason}",
    "looks like {mime}, but {reason}": "parece {mime}, mas {reason}",
    "has another structure": "tem outra estrutura",
    "an encrypted Office document": "um documento cifrado do Office",
    "is an encrypted Office document, and neither its name nor its mime type says of which type": (
        "é um documento cifrado do Office, e nem o nome nem o tipo MIME dizem de que tipo"
    ),
    "declared as {name}, but is {mime}": "declarado como {name}, mas é {mime}",
    "declared {declared}, is {mime}": "declarado {declared}, é {mime}",
    "named .{declared}, is .{ext}": "com nome .{declared}, é .{ext}",
    "sent as {declared}, is {kind}": "enviado como {declared}, é {kind}",
    "{kind} of {size} MB; at most {limit} MB are allowed ({setting})": (
        "{kind} de {size} MB; o máximo é {limit} MB ({setting})"
    ),
    "cannot be read as {form}": "não pode ser lido como {form}",
    "a PDF document": "um documento PDF",
    "an OLE document": "um documento OLE",
    "a zip archive": "um arquivo zip",
    **{f"a {name} image": f"uma imagem {name}" for name in ("JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF")},
    "holds active content: {flags}; ACTIVE_DOCUMENTS=accept accepts it": (
        "tem conteúdo ativo: {flags}; ACTIVE_DOCUMENTS=accept o aceita"
    ),
    "has no pixels": "não tem pixels",
    "has {width} × {height} pixels; at most {limit} Mpx are allowed (MAX_IMAGE_MPX)": (
        "tem {width} × {height} pixels; o máximo é {limit} Mpx (MAX_IMAGE_MPX)"
    ),
    "has too many pixels; at most {limit} Mpx are allowed (MAX_IMAGE_MPX)": (
        "tem pixels demais; o máximo é {limit} Mpx (MAX_IMAGE_MPX)"
    ),
    "has {frames} frames or more; at most {limit} are allowed (MAX_FRAMES)": (
        "tem {frames} quadros ou mais; o máximo é {limit} (MAX_FRAMES)"
    ),
    "has {frames} frames or more of {width} × {height} pixels; at most {limit} Mpx in all are allowed "
    "(ten times MAX_IMAGE_MPX)": (
        "tem {frames} quadros ou mais de {width} × {height} pixels; o máximo é {limit} Mpx ao todo "
        "(dez vezes MAX_IMAGE_MPX)"
    ),
    "ends within its first chunk": "termina dentro do primeiro bloco",
    "has no WebP image in its first chunk": "não tem imagem WebP no primeiro bloco",
    "has no audio stream": "não tem trilha de áudio",
    "has no video stream": "não tem trilha de vídeo",
    "has no video stream and no audio stream": "não tem trilha de vídeo nem de áudio",
    "uses a codec that FFmpeg does not support": "usa um codec que o FFmpeg não suporta",
    "no frame can be decoded": "nenhum quadro pode ser decodificado",
    "has no samples": "não tem amostras",
    "lasts {seconds} s; at most {limit} s are allowed (MAX_DURATION_S)": (
        "dura {seconds} s; o máximo é {limit} s (MAX_DURATION_S)"
    ),
    "has no pages": "não tem páginas",
    "has {pages} pages; at most {limit} are allowed (MAX_PAGES)": "tem {pages} páginas; o máximo é {limit} (MAX_PAGES)",
    "has a first page without any size": "tem uma primeira página sem tamanho",
    "has no main stream": "não tem o fluxo principal",
    "is shorter than its directory says": "é mais curto do que o diretório diz",
    "has a chain of sectors that ends early or never": "tem uma cadeia de setores que acaba cedo ou nunca",
    "has no Word document in its main stream": "não tem documento do Word no fluxo principal",
    "has no Excel workbook in its main part": "não tem pasta do Excel na parte principal",
    "has no Excel workbook in its main stream": "não tem pasta do Excel no fluxo principal",
    "holds bytes that are not text": "tem bytes que não são texto",
    "ends before its last group is closed": "termina antes de fechar o último grupo",
    "expands to more than {limit} times its size (MAX_EXPANSION_RATIO)": (
        "expande para mais de {limit} vezes o seu tamanho (MAX_EXPANSION_RATIO)"
    ),
    "holds more than {limit} entries (MAX_ENTRIES)": "tem mais de {limit} entradas (MAX_ENTRIES)",
    "holds archives within archives, {depth} deep": "tem arquivos compactados dentro de outros, com {depth} níveis",
    "has no end record": "não tem o registro final",
    "has more than one end record": "tem mais de um registro final",
    "has bytes before or after its directory that do not belong to it": (
        "tem bytes antes ou depois do diretório que não pertencem a ele"
    ),
    "holds a part of more than {limit} bytes where a small one belongs": (
        "tem uma parte de mais de {limit} bytes onde deveria haver uma pequena"
    ),
    "has entries that overlap": "tem entradas que se sobrepõem",
    "has an entry that leaves the file": "tem uma entrada que sai do arquivo",
    "holds more bytes than its directory says": "tem mais bytes do que o diretório diz",
    "holds other bytes than its directory says": "tem outros bytes do que o diretório diz",
    "holds an entry that is cut short": "tem uma entrada cortada",
    "has an entry without a header": "tem uma entrada sem cabeçalho",
    "is an encrypted archive": "é um arquivo compactado cifrado",
    "is compressed with a method that neither Office documents nor stickers use": (
        "está comprimido com um método que nem documentos do Office nem figurinhas usam"
    ),
    "has sizes in its directory and in an entry's header that differ": (
        "tem tamanhos diferentes no diretório e no cabeçalho de uma entrada"
    ),
    "has entries that differ from its directory": "tem entradas que diferem do diretório",
    "is an archive with names that lead out of it": "é um arquivo compactado com nomes que levam para fora dele",
    "has no list of content types": "não tem a lista de tipos de conteúdo",
    "has no main part": "não tem a parte principal",
    "lacks the main part that it names": "não tem a parte principal que indica",
    "holds XML that is not well formed": "tem XML malformado",
    "holds XML that declares a document type": "tem XML que declara um tipo de documento (DOCTYPE)",
    "has no PowerPoint presentation in its main stream": "não tem apresentação do PowerPoint no fluxo principal",
    "has no encrypted package in its main stream": "não tem pacote cifrado no fluxo principal",
    "has a damaged directory of streams": "tem um diretório de fluxos danificado",
    "ends before the last sheet of its workbook ends": "termina antes do fim da última planilha",
    "holds other bytes behind the last sheet of its workbook": "tem outros bytes depois da última planilha",
    "is larger than a workbook without an OLE container can be": (
        "é maior do que uma pasta do Excel sem contêiner OLE pode ser"
    ),
    "has two entries of the same name, case and slashes aside": (
        "tem duas entradas com o mesmo nome, sem contar maiúsculas e barras"
    ),
    "is an archive without entries": "é um arquivo compactado sem entradas",
    "holds XHTML, SVG, a script, a stylesheet or an inclusion, which programs may run": (
        "tem XHTML, SVG, script, folha de estilo ou inclusão, que programas podem executar"
    ),
    "is nested more than {limit} levels deep": "tem mais de {limit} níveis de profundidade",
    "has no valid OFX header": "não tem um cabeçalho OFX válido",
    "has elements that are not those of an OFX file": "tem elementos que não são de um arquivo OFX",
    "ends before its OFX element is closed": "termina antes de fechar o elemento OFX",
    "has a line of more than {limit} bytes": "tem uma linha de mais de {limit} bytes",
    "has text outside of its cards": "tem texto fora dos cartões",
    "has a line that is no property of a card": "tem uma linha que não é propriedade de um cartão",
    "has a card that is not of version 2.1, 3.0 or 4.0": "tem um cartão que não é da versão 2.1, 3.0 ou 4.0",
    "ends within a card": "termina dentro de um cartão",
    "has no Lottie animation": "não tem animação Lottie",
    "holds JSON that is not valid, or has a name twice or a number without bounds": (
        "tem JSON inválido, com um nome repetido ou com um número sem limites"
    ),
    "holds more than the {limit} files that a sticker may have": (
        "tem mais que os {limit} arquivos que uma figurinha pode ter"
    ),
    "unpacks to more than the {limit} bytes that a sticker may have": (
        "descompacta em mais que os {limit} bytes que uma figurinha pode ter"
    ),
    "draws more than {limit} layers or copies": "desenha mais de {limit} camadas ou cópias",
    "holds a script": "tem um script",
    "refers to files outside of it": "faz referência a arquivos fora dele",
    "clamd found {name}": "o clamd encontrou {name}",
    "clamd does not answer ({reason})": "o clamd não responde ({reason})",
    "it hangs": "está travado",
    "clamd did not scan this file within {seconds} s": "o clamd não verificou este arquivo em {seconds} s",
    "this file is larger than clamd accepts: raise its StreamMaxLength": (
        "este arquivo é maior do que o clamd aceita: aumente o StreamMaxLength dele"
    ),
    "clamd scanned only a part of this file ({reason}): raise its limits": (
        "o clamd verificou só uma parte deste arquivo ({reason}): aumente os limites dele"
    ),
    "clamd cannot scan this file: {reason}": "o clamd não consegue verificar este arquivo: {reason}",
    "the server at CLAMD_ADDRESS does not answer like clamd": "o servidor em CLAMD_ADDRESS não responde como o clamd",
    "clamd closed the connection without a reply": "o clamd fechou a conexão sem resposta",
}
_SANDBOX = {
    "takes more memory than is allowed (SANDBOX_MEMORY_MB)": (
        "usa mais memória do que o permitido (SANDBOX_MEMORY_MB)"
    ),
    "takes longer than is allowed (SANDBOX_WALL_S, SANDBOX_CPU_S)": (
        "demora mais do que o permitido (SANDBOX_WALL_S, SANDBOX_CPU_S)"
    ),
    "takes more CPU time than is allowed (SANDBOX_CPU_S)": "usa mais tempo de CPU do que o permitido (SANDBOX_CPU_S)",
    "took longer than is allowed (SANDBOX_WALL_S) with {seconds} s of CPU: the decoder waits, or the machine is too "
    "busy": (
        "demorou mais que o permitido (SANDBOX_WALL_S) com {seconds} s de CPU: o decodificador espera, ou a máquina "
        "está sobrecarregada"
    ),
    "the decoder failed with {exception}": "o decodificador falhou com {exception}",
    "an exception of its own": "uma exceção própria",
    "the decoder process ended {how}": "o processo decodificador terminou {how}",
    "by {signal}": "por {signal}",
    "with status {status}": "com status {status}",
    "the decoder process sent an invalid reply": "o processo decodificador enviou uma resposta inválida",
    "the decoder process was killed from outside": "o processo decodificador foi morto por fora",
    "a decoder cannot be loaded: install Esteira's dependencies again": (
        "um decodificador não pode ser carregado: instale de novo as dependências da Esteira"
    ),
    "no thread can be started in a decoder process: raise the limit of processes (ulimit -u)": (
        "nenhuma thread pode ser iniciada em um processo decodificador: aumente o limite de processos (ulimit -u)"
    ),
    "a decoder process does not start: {reason}": "um processo decodificador não inicia: {reason}",
    "a decoder process cannot be started: {reason}": "um processo decodificador não pode ser iniciado: {reason}",
    "a decoder process {reason} ({error}). SANDBOX_CONFINEMENT=best-effort decodes without it.": (
        "um processo decodificador {reason} ({error}). SANDBOX_CONFINEMENT=best-effort decodifica sem isso."
    ),
    "cannot change to the user of SANDBOX_USER": "não consegue mudar para o usuário de SANDBOX_USER",
    "cannot give up its capabilities": "não consegue abrir mão das suas capabilities",
    "cannot hide its memory": "não consegue esconder a sua memória",
    "cannot start a single thread: raise the limit of processes (ulimit -u)": (
        "não consegue iniciar nenhuma thread: aumente o limite de processos (ulimit -u)"
    ),
    "cannot renounce new privileges": "não consegue renunciar a novos privilégios",
    "has no Landlock: use Linux 5.13 or newer with Landlock among its security modules, in a container runtime that "
    "allows it": (
        "não tem Landlock: use Linux 5.13 ou mais novo com Landlock entre os módulos de segurança, em um ambiente de "
        "contêiner que o permita"
    ),
    "has no system call filter: use Linux on x86-64 or ARM64 with seccomp": (
        "não tem filtro de chamadas de sistema: use Linux em x86-64 ou ARM64 com seccomp"
    ),
    "cannot be confined": "não pode ser confinado",
    "unknown error": "erro desconhecido",
    "ended with {status}": "terminou com {status}",
    "no answer in time, {seconds} s of CPU used": "sem resposta a tempo, {seconds} s de CPU usados",
    "is still being decoded, or waits for another file that is": (
        "ainda está sendo decodificado, ou espera outro arquivo que está"
    ),
    "the sandbox is closed": "o sandbox está fechado",
}
_STORES = {
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

MESSAGES = {**_FETCH, **_GATEWAYS, **_TYPES, **_SANDBOX, **_STORES, **_OTHERS}
