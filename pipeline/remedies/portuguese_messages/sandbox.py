"""As mensagens dos processos decodificadores."""

from __future__ import annotations

MESSAGES = {
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
