"""O que houve e o que fazer, em português do Brasil."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    # fetch
    "url_blocked": (
        "O endereço do arquivo leva a uma rede privada, a uma porta proibida, ou a um servidor que não é do WhatsApp "
        "embora a mensagem tenha uma chave de mídia.",
        "Se o arquivo está em uma máquina sua, inclua a rede dela em FETCH_ALLOW_PRIVATE, a porta em FETCH_PORTS ou o "
        "nome em WHATSAPP_HOSTS e reprocesse. Se não, alguém mandou um endereço para alcançar a sua rede: deixe como "
        "está.",
    ),
    "url_scheme": (
        "O endereço do arquivo não é http nem https.",
        "Faça o gateway entregar um endereço http ou https, ou os próprios bytes, e reprocesse com ele.",
    ),
    "no_source": (
        "A mensagem não diz onde estão os bytes do arquivo, ou eles não estão mais lá.",
        "Veja no gateway as configurações de download de mídia. Reprocesse com um endereço ou com o próprio arquivo.",
    ),
    "source_gone": (
        "O servidor de mídia não entrega mais o arquivo: o endereço expirou ou o arquivo foi removido.",
        "Com REUPLOAD=gateway o arquivo é pedido ao WPPConnect, à Evolution API, ao WAHA ou ao GOWA: configure e "
        "reprocesse. Se já está configurado, o erro traz a resposta do gateway. Ou peça um novo upload e reprocesse "
        "com o novo endereço.",
    ),
    "too_large": (
        "O arquivo é maior do que o seu tipo permite.",
        "Se quiser aceitar arquivos assim, aumente MAX_IMAGE_MB, MAX_VIDEO_MB, MAX_AUDIO_MB, MAX_DOCUMENT_MB ou "
        "MAX_STICKER_MB, reinicie os workers e reprocesse.",
    ),
    "empty": (
        "O arquivo não tem bytes, ou não tem nada além do cabeçalho.",
        "Peça a quem enviou que mande de novo. Reprocessar da mesma origem só adianta se a falha foi do servidor.",
    ),
    "fetch_dns": (
        "O nome do servidor de mídia não pôde ser resolvido.",
        "Verifique o DNS na máquina dos workers e o nome no endereço, depois reprocesse.",
    ),
    "fetch_protocol": (
        "A resposta do servidor de mídia não é HTTP válido.",
        "Verifique o servidor, ou o proxy na frente dele. Reprocesse quando ele responder como deve.",
    ),
    "fetch_proxy": (
        "O proxy de FETCH_PROXY não se conectou ao servidor de mídia; o erro diz qual proxy e por quê.",
        "Verifique o proxy, seu login e o que ele permite: ele recebe CONNECT, ou SOCKS 5, para endereços IP. "
        "Depois, reprocesse.",
    ),
    "fetch_redirect": (
        "O servidor de mídia redireciona vezes demais, ou para lugar nenhum.",
        "Abra o endereço você mesmo e veja aonde leva. Reprocesse com o endereço onde o arquivo realmente está.",
    ),
    "fetch_refused": (
        "O servidor de mídia não pôde ser alcançado, ou se recusa a entregar o arquivo.",
        "Verifique se o servidor está no ar e se a máquina dos workers o alcança, depois reprocesse.",
    ),
    "fetch_reset": (
        "O servidor de mídia interrompeu a conexão em todas as tentativas.",
        "Quase sempre é um problema passageiro da rede ou do servidor: reprocesse mais tarde.",
    ),
    "fetch_timeout": (
        "O servidor de mídia foi lento demais em todas as tentativas.",
        "Reprocesse mais tarde. Se ele é sempre lento assim, aumente FETCH_READ_TIMEOUT_S e FETCH_DEADLINE_S.",
    ),
    "fetch_tls": (
        "O certificado do servidor de mídia não é confiável: vencido, autoassinado ou de outro nome.",
        "Corrija o certificado do servidor, depois reprocesse. Certificados são sempre verificados.",
    ),
    "fetch_truncated": (
        "O arquivo terminou antes de chegarem todos os bytes, em todas as tentativas.",
        "Quase sempre é um problema passageiro da rede ou do servidor: reprocesse mais tarde.",
    ),
    "fetch_unauthorized": (
        "O servidor do gateway não aceita as nossas credenciais.",
        "Verifique a chave ou o token do gateway (WAHA_API_KEY, CLOUD_ACCESS_TOKEN, …), reinicie os workers e "
        "reprocesse.",
    ),
    "fetch_unavailable": (
        "O servidor de mídia está sobrecarregado ou fora do ar.",
        "Espere até que ele volte a responder, depois reprocesse.",
    ),
    # decryption
    "decrypt_format": (
        "O que foi baixado não está cifrado como no WhatsApp, embora tenha vindo com uma media key.",
        "Se o gateway entrega arquivos já decifrados, não deve mandar a media key junto. Se não, peça um novo upload.",
    ),
    "decrypt_key": (
        "A media key da mensagem não pode ser uma media key.",
        "Veja como o gateway entrega a media key: 32 bytes em base64 ou hex. Reprocesse com a chave certa.",
    ),
    "decrypt_mac": (
        "O arquivo não pode ser decifrado: a media key não é a dele, ou os bytes mudaram no caminho.",
        "Verifique se o tipo e a media key são desta mensagem. Reprocesse com a chave certa, ou peça um novo upload.",
    ),
    "hash_mismatch": (
        "Os bytes não são os que a mensagem anunciou, pelo hash ou pelo tamanho.",
        "Peça um novo upload e reprocesse com ele. Se o gateway anuncia hashes errados, faça com que não os mande.",
    ),
    # detect and validate
    "type_not_allowed": (
        "O conteúdo é de um tipo que não é aceito.",
        "Se quiser aceitar arquivos assim e o erro diz o que incluir em ALLOWED_TYPES, inclua, reinicie os workers e "
        "reprocesse. Nenhuma configuração permite outros tipos, como programas, scripts, HTML, SVG, APK e JAR.",
    ),
    "type_mismatch": (
        "O conteúdo não é o que foi declarado.",
        "Se o erro cita MISMATCH ou ALLOWED_TYPES, essa configuração aceita o arquivo como o que ele é: defina-a, "
        "reinicie os workers e reprocesse. Fora isso, o que foi declarado como arquivo do Office é sempre recusado.",
    ),
    "broken": (
        "O arquivo está danificado e não pode ser aberto.",
        "Peça a quem enviou que mande de novo. Reprocessar só adianta se o dano aconteceu no caminho.",
    ),
    "too_many_pixels": (
        "A imagem tem mais pixels do que o permitido.",
        "Se quiser aceitar imagens assim, aumente MAX_IMAGE_MPX e, com ele, SANDBOX_MEMORY_MB; reinicie e reprocesse.",
    ),
    "too_many_frames": (
        "A animação tem mais quadros do que o permitido.",
        "Se quiser aceitar animações assim, aumente MAX_FRAMES, reinicie os workers e reprocesse.",
    ),
    "too_many_pages": (
        "O documento tem mais páginas do que o permitido.",
        "Se quiser aceitar documentos assim, aumente MAX_PAGES, reinicie os workers e reprocesse.",
    ),
    "too_long": (
        "A gravação dura mais do que o permitido.",
        "Se quiser aceitar gravações assim, aumente MAX_DURATION_S, reinicie os workers e reprocesse.",
    ),
    "expands_too_far": (
        "O arquivo se expande para muito mais do que é: pode ser uma bomba.",
        "Se confia na origem, aumente MAX_EXPANSION_RATIO ou MAX_ENTRIES, como diz o erro, reinicie e reprocesse.",
    ),
    "active_content": (
        "O arquivo está cifrado, ou contém macros, scripts ou objetos embutidos.",
        "Se quiser aceitar arquivos assim, defina ACTIVE_DOCUMENTS=accept (ficam marcados), reinicie e reprocesse.",
    ),
    "decoder_crash": (
        "O arquivo derrubou o seu decodificador. A queda ficou contida.",
        "Não o abra à mão. Uma versão mais nova dos decodificadores talvez o leia: reprocesse depois de atualizar.",
    ),
    "too_costly": (
        "Verificar o arquivo custou mais tempo ou memória do que o permitido.",
        "Em uma máquina sobrecarregada, reprocessar pode bastar. Para arquivos grandes aumente SANDBOX_CPU_S, "
        "SANDBOX_WALL_S ou SANDBOX_MEMORY_MB.",
    ),
    "malware": (
        "O antivírus encontrou malware no arquivo. Nada dele foi armazenado.",
        "Avise quem o enviou. Reprocesse só se souber que o achado está errado e as assinaturas foram corrigidas.",
    ),
    "antivirus": (
        "O antivírus não respondeu, ou não pôde examinar o arquivo inteiro, por isso ele não passou.",
        "Verifique se o clamd está no ar em CLAMD_ADDRESS e aceita arquivos deste tamanho, depois reprocesse.",
    ),
    # persist and notify
    "staging": (
        "Não é possível gravar ou ler no diretório de staging dos workers.",
        "Verifique o espaço livre e as permissões de STAGING_DIR, depois reprocesse. `esteira doctor` examina os dois.",
    ),
    "staging_lost": (
        "Os bytes baixados sumiram antes de serem armazenados, repetidas vezes.",
        "Workers em várias máquinas que dividem as etapas precisam de um STAGING_DIR comum. Depois reprocesse.",
    ),
    "storage": (
        "Não é possível gravar ou ler no armazenamento.",
        "Verifique STORAGE_URL, as credenciais e o espaço livre, depois reprocesse. `esteira doctor` o examina.",
    ),
    "catalogue": (
        "O banco de dados não consegue guardar os dados deste arquivo.",
        "Procure o motivo no log dos workers e reprocesse quando estiver resolvido.",
    ),
    "encryption_key": (
        "Falta em ENCRYPTION_KEYS a chave que cifra a origem deste arquivo. O arquivo espera e não se perde.",
        "Acrescente a chave a ENCRYPTION_KEYS e reinicie o app web e os workers. Se a chave se perdeu, cancele o "
        "arquivo e peça que o enviem de novo.",
    ),
    "notify": (
        "O arquivo está armazenado, mas o evento dele não foi aceito.",
        "Verifique se o receptor dos eventos responde, depois reprocesse: só o evento é mandado de novo.",
    ),
    # the queue
    "internal": (
        "Algo deu errado dentro da própria Esteira.",
        "Reprocesse. Se acontecer de novo, veja o log dos workers e relate o problema com o que está lá.",
    ),
    "poison": (
        "Três workers morreram enquanto estavam com este arquivo.",
        "Procure o motivo no log do sistema (quase sempre memória) antes de reprocessar.",
    ),
    "cancelled": (
        "Foi cancelado.",
        "Reprocesse se, afinal, ele for necessário.",
    ),
    # messages and gateways
    "bad_payload": (
        "A mensagem não foi montada como são as mensagens do seu gateway.",
        "Veja qual campo é citado, e a versão do gateway. Reprocesse com um endereço ou com o próprio arquivo.",
    ),
    "gateway_error": (
        "O próprio gateway não conseguiu baixar o arquivo.",
        "Veja o log do gateway. Faça-o baixar de novo e reprocesse com o novo endereço.",
    ),
}
