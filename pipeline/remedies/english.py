"""What happened and what to do, in English."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    # fetch
    "url_blocked": (
        "The address of the file is in a private network, has a forbidden port, or is not one of WhatsApp's servers "
        "although the message has a media key.",
        "If the file is on a machine of yours, add its network to FETCH_ALLOW_PRIVATE, its port to FETCH_PORTS or its "
        "name to WHATSAPP_HOSTS, then replay. If not, the address may be an attack on your network: do not replay it.",
    ),
    "url_scheme": (
        "The address of the file is neither http nor https.",
        "Have the gateway hand over an http or https address, or the bytes themselves, and replay with it.",
    ),
    "no_source": (
        "The message has no source for the file, or the file is no longer there.",
        "Look at the gateway's settings for media downloads. Replay with an address or with the file itself.",
    ),
    "source_gone": (
        "The media server no longer has the file: its address has expired or the file was removed.",
        "With REUPLOAD=gateway WPPConnect, Evolution API, WAHA and GOWA are asked for it: set it and replay. If it is "
        "set, the error has the gateway's answer. Or ask for a new upload and replay with the new address.",
    ),
    "too_large": (
        "The file is larger than the limit of its kind.",
        "If such files are wanted, raise MAX_IMAGE_MB, MAX_VIDEO_MB, MAX_AUDIO_MB, MAX_DOCUMENT_MB or MAX_STICKER_MB, "
        "restart the workers and replay.",
    ),
    "empty": (
        "The file has no bytes, or only a header.",
        "Ask the sender to send it again. A replay with the same source helps only if the server was at fault.",
    ),
    "fetch_dns": (
        "The name of the media server could not be resolved.",
        "Check DNS on the workers' machine and the name in the address, then replay.",
    ),
    "fetch_protocol": (
        "The response of the media server is not valid HTTP.",
        "Check the server, or the proxy in front of it. Replay when it responds correctly.",
    ),
    "fetch_proxy": (
        "The proxy in FETCH_PROXY did not connect to the media server; the error says which proxy and why.",
        "Check the proxy, its login and what it allows: it is asked for CONNECT, or SOCKS 5, to IP addresses. "
        "Then replay.",
    ),
    "fetch_redirect": (
        "The media server redirects too often, or to an invalid address.",
        "Open the address yourself and see where it leads. Replay with the final address of the file.",
    ),
    "fetch_refused": (
        "The media server could not be reached, or it refuses the download.",
        "Check that the server runs and that the workers' machine can reach it, then replay.",
    ),
    "fetch_reset": (
        "The media server closed the connection at every attempt.",
        "This is usually a temporary network or server problem: replay later.",
    ),
    "fetch_timeout": (
        "The media server was too slow at every attempt.",
        "Replay later. If it is always that slow, raise FETCH_READ_TIMEOUT_S and FETCH_DEADLINE_S.",
    ),
    "fetch_tls": (
        "The certificate of the media server is not trusted: it is expired, self-signed or for another name.",
        "Fix the certificate of the server, then replay. Certificates are always checked.",
    ),
    "fetch_truncated": (
        "The download ended before the file was complete, at every attempt.",
        "This is usually a temporary network or server problem: replay later.",
    ),
    "fetch_unauthorized": (
        "The gateway's server rejects our credentials.",
        "Check the gateway's key or token (WAHA_API_KEY, CLOUD_ACCESS_TOKEN, …), restart the workers and replay.",
    ),
    "fetch_unavailable": (
        "The media server is overloaded or down.",
        "Wait until it answers again, then replay.",
    ),
    # decryption
    "decrypt_format": (
        "The downloaded file is not WhatsApp ciphertext, but the message has a media key.",
        "If the gateway serves decrypted files, it must not send the media key. Otherwise ask for a new upload.",
    ),
    "decrypt_key": (
        "The media key of the message is invalid.",
        "Check how the gateway sends the media key: 32 bytes in base64 or hex. Replay with the right key.",
    ),
    "decrypt_mac": (
        "The file cannot be decrypted: the media key is not its key, or the bytes were changed on the way.",
        "Check that kind and media key are those of this message. Replay with the right key, or ask for a new upload.",
    ),
    "hash_mismatch": (
        "The file does not have the hash or the size that the message declares.",
        "Ask for a new upload and replay with it. If the gateway declares wrong hashes, configure it to omit them.",
    ),
    # detect and validate
    "type_not_allowed": (
        "The type of the file is not allowed.",
        "If such files are wanted and the error names what to add to ALLOWED_TYPES, add it, restart the workers and "
        "replay. No setting allows other types, such as programs, scripts, HTML, SVG, APK and JAR.",
    ),
    "type_mismatch": (
        "The file has another type than declared.",
        "If the error names MISMATCH or ALLOWED_TYPES, that setting accepts the file as what it is: set it, restart "
        "the workers and replay. Other files that are declared as office files are always refused.",
    ),
    "broken": (
        "The file is damaged and cannot be opened.",
        "Ask the sender to send it again. A replay helps only if the damage happened during the transfer.",
    ),
    "too_many_pixels": (
        "The picture has more pixels than are allowed.",
        "If such pictures are wanted, raise MAX_IMAGE_MPX, and SANDBOX_MEMORY_MB with it; restart and replay.",
    ),
    "too_many_frames": (
        "The animation has more frames than are allowed.",
        "If such animations are wanted, raise MAX_FRAMES, restart the workers and replay.",
    ),
    "too_many_pages": (
        "The document has more pages than are allowed.",
        "If such documents are wanted, raise MAX_PAGES, restart the workers and replay.",
    ),
    "too_long": (
        "The recording lasts longer than is allowed.",
        "If such recordings are wanted, raise MAX_DURATION_S, restart the workers and replay.",
    ),
    "expands_too_far": (
        "The file expands to far more than its size: it may be a decompression bomb.",
        "If you trust its source, raise MAX_EXPANSION_RATIO or MAX_ENTRIES, as the error says, restart and replay.",
    ),
    "active_content": (
        "The file is encrypted, or contains macros, scripts or embedded objects.",
        "If such files are wanted, set ACTIVE_DOCUMENTS=accept (they are flagged then), restart and replay.",
    ),
    "decoder_crash": (
        "The file crashed its decoder. The crash was contained.",
        "Do not open the file. A newer version of the decoders may read it: replay after an update.",
    ),
    "too_costly": (
        "Checking the file took more time or memory than is allowed.",
        "On an overloaded machine a replay may be enough. For large files raise SANDBOX_CPU_S, SANDBOX_WALL_S or "
        "SANDBOX_MEMORY_MB.",
    ),
    "malware": (
        "The antivirus found malware in the file. Nothing of it was stored.",
        "Warn the sender. Replay only if you know that the finding is wrong and the signatures were corrected.",
    ),
    "antivirus": (
        "The antivirus did not answer, or could not scan the whole file, so the file was refused.",
        "Check that clamd runs at CLAMD_ADDRESS and accepts files of this size, then replay.",
    ),
    # persist and notify
    "staging": (
        "The workers' staging directory cannot be written or read.",
        "Check the free space and the permissions of STAGING_DIR, then replay. `esteira doctor` checks both.",
    ),
    "staging_lost": (
        "The downloaded file disappeared before it was stored, several times.",
        "Workers on several machines need a shared STAGING_DIR if they share the stages. Then replay.",
    ),
    "storage": (
        "Storage cannot be written or read.",
        "Check STORAGE_URL, its credentials and its free space, then replay. `esteira doctor` checks it.",
    ),
    "catalogue": (
        "The database cannot store the facts about this file.",
        "Find the reason in the log of the workers, and replay when it is fixed.",
    ),
    "encryption_key": (
        "ENCRYPTION_KEYS lacks the key that encrypts the source of this file. The file waits and is not lost.",
        "Add the key to ENCRYPTION_KEYS and restart web app and workers. If the key is lost, cancel the file and "
        "let it be sent again.",
    ),
    "notify": (
        "The file is stored, but its event was not accepted.",
        "Check that the receiver of the events answers, then replay: only the event is sent again.",
    ),
    # the queue
    "internal": (
        "Esteira itself failed.",
        "Replay it. If the error returns, look at the log of the workers, and report it with the log.",
    ),
    "poison": (
        "Three workers died while processing this file.",
        "Find the reason in the system log (usually memory) before you replay it.",
    ),
    "cancelled": (
        "It was cancelled.",
        "Replay it if you want it after all.",
    ),
    # messages and gateways
    "bad_payload": (
        "The message does not have the format of its gateway.",
        "Check the named field and the version of the gateway. Replay with an address or the file itself.",
    ),
    "gateway_error": (
        "The gateway itself could not download the file.",
        "Check the gateway's log. Let it download the file again, and replay with the new address.",
    ),
}
