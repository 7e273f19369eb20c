"""As mensagens dos tipos e das verificações dos arquivos."""

from __future__ import annotations

MESSAGES = {
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
