"""What happened, and what to do, in English."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    # fetch
    "url_blocked": (
        "The address of the file leads into a private network or to a forbidden port.",
        "If the file lies on a machine of yours, add its network to FETCH_ALLOW_PRIVATE or its port to FETCH_PORTS, "
        "then replay. If not, somebody sent an address that was meant to reach into your network: leave it.",
    ),
    "url_scheme": (
        "The address of the file is neither http nor https.",
        "Have the gateway hand over an http or https address, or the bytes themselves, and replay with it.",
    ),
    "no_source": (
        "The message says nowhere where the bytes of the file lie, or they are not there any more.",
        "Look at the gateway's settings for media downloads. Replay with an address or with the file itself.",
    ),
    "source_gone": (
        "The media server does not give the file out any more: its address has expired or the file was removed.",
        "Ask the gateway for a new upload and replay with the new address. The same address will not work again.",
    ),
    "too_large": (
        "The file is larger than its kind may be.",
        "If such files are wanted, raise MAX_IMAGE_MB, MAX_VIDEO_MB, MAX_AUDIO_MB, MAX_DOCUMENT_MB or MAX_STICKER_MB, "
        "restart the workers and replay.",
    ),
    "empty": (
        "The file has no bytes, or nothing in it but a head.",
        "Ask the sender to send it again. A replay with the same source helps only if the server was at fault.",
    ),
    "fetch_dns": (
        "The name of the media server could not be resolved.",
        "Check DNS on the workers' machine and the name in the address, then replay.",
    ),
    "fetch_protocol": (
        "The media server's answer is no proper HTTP.",
        "Look at the server, or at the proxy in front of it. Replay once it answers as it should.",
    ),
    "fetch_redirect": (
        "The media server redirects too often, or to nowhere.",
        "Open the address yourself and see where it leads. Replay with the address where the file really lies.",
    ),
    "fetch_refused": (
        "The media server could not be reached, or it refuses to give the file out.",
        "Check that the server runs and that the workers' machine can reach it, then replay.",
    ),
    "fetch_reset": (
        "The media server broke the connection off, at every attempt.",
        "It is mostly a short trouble of the network or the server: replay later.",
    ),
    "fetch_timeout": (
        "The media server was too slow, at every attempt.",
        "Replay later. If it is always that slow, raise FETCH_READ_TIMEOUT_S and FETCH_DEADLINE_S.",
    ),
    "fetch_tls": (
        "The certificate of the media server is not to be trusted: expired, self-signed or of another name.",
        "Mend the server's certificate, then replay. Certificates are always checked.",
    ),
    "fetch_truncated": (
        "The file ended before all of its bytes had come, at every attempt.",
        "It is mostly a short trouble of the network or the server: replay later.",
    ),
    "fetch_unauthorized": (
        "The gateway's server does not take our credentials.",
        "Check the gateway's key or token (WAHA_API_KEY, CLOUD_ACCESS_TOKEN, …), restart the workers and replay.",
    ),
    "fetch_unavailable": (
        "The media server is overloaded or out of order.",
        "Wait until it answers again, then replay.",
    ),
    # decryption
    "decrypt_format": (
        "What was fetched is no WhatsApp ciphertext, though a media key came with it.",
        "If the gateway hands out decrypted files, it must not send the media key. Otherwise ask for a new upload.",
    ),
    "decrypt_key": (
        "The media key of the message cannot be one.",
        "Look how the gateway hands over the media key: 32 bytes in base64 or hex. Replay with the right one.",
    ),
    "decrypt_mac": (
        "The file cannot be decrypted: the media key is not its key, or the bytes were changed on the way.",
        "Check that kind and media key are those of this message. Replay with the right key, or ask for a new upload.",
    ),
    "hash_mismatch": (
        "The bytes are others than the message announced, by their hash or their size.",
        "Ask for a new upload and replay with it. If the gateway announces wrong hashes, have it leave them out.",
    ),
    # detect and validate
    "type_not_allowed": (
        "The content is of a type that is not let in.",
        "If such files are wanted and the README lists them as on request, add the type to ALLOWED_TYPES, restart the "
        "workers and replay. Programs, scripts, HTML, SVG and archives are never let in.",
    ),
    "type_mismatch": (
        "The content is something else than it was declared as.",
        "With MISMATCH=correct the content decides. What was declared as an office file and is another stays refused.",
    ),
    "broken": (
        "The file is damaged and cannot be opened.",
        "Ask the sender to send it again. A replay helps only if the damage happened on the way.",
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
        "The document unpacks to far more than it is: it may be a bomb.",
        "Leave it, unless you know where it comes from. MAX_EXPANSION_RATIO and MAX_ENTRIES are the limits.",
    ),
    "active_content": (
        "The document is encrypted or holds macros.",
        "If such documents are wanted, set ACTIVE_DOCUMENTS=accept (they are flagged then), restart and replay.",
    ),
    "decoder_crash": (
        "The file made its decoder crash. The crash was contained.",
        "Do not open it by hand. A newer version of the decoders may read it: replay after an update.",
    ),
    "too_costly": (
        "Checking the file took more time or memory than is allowed.",
        "On a crowded machine a replay may do. For large files raise SANDBOX_CPU_S, SANDBOX_WALL_S or "
        "SANDBOX_MEMORY_MB.",
    ),
    "malware": (
        "The antivirus found malware in the file. Nothing of it was stored.",
        "Warn whoever sent it. Replay only if you know the finding to be wrong and the signatures were mended.",
    ),
    "antivirus": (
        "The antivirus did not answer, or could not look at all of the file, so it was not let through.",
        "Check that clamd runs at CLAMD_ADDRESS and takes files of this size, then replay.",
    ),
    # persist and notify
    "staging": (
        "The workers' staging directory cannot be written or read.",
        "Check the free space and the rights of STAGING_DIR, then replay. `esteira doctor` looks at both.",
    ),
    "staging_lost": (
        "The fetched bytes were gone before they were stored, again and again.",
        "Workers on several machines that share the stages need a STAGING_DIR that they share, too. Then replay.",
    ),
    "storage": (
        "Storage cannot be written or read.",
        "Check STORAGE_URL, its credentials and the free space there, then replay. `esteira doctor` looks at it.",
    ),
    "catalogue": (
        "The catalogue cannot hold what was found out about this file.",
        "Look at the log of the workers for the reason, and replay once it is mended.",
    ),
    "notify": (
        "The file is stored, but its announcement was not taken.",
        "Check that the receiver of the announcements answers, then replay: only the announcement is sent again.",
    ),
    # the belt
    "internal": (
        "Something went wrong within Esteira itself.",
        "Replay it. If it comes back, look at the log of the workers, and report it with what stands there.",
    ),
    "poison": (
        "Three workers died while they held this file.",
        "Look for the reason in the log of the system (memory, mostly) before you replay it.",
    ),
    "cancelled": (
        "Somebody cancelled it.",
        "Replay it if it is wanted after all.",
    ),
    # what comes from outside
    "bad_payload": (
        "The message was not put together as its gateway's messages are.",
        "Look which field is named, and at the version of the gateway. Replay with an address or the file itself.",
    ),
    "gateway_error": (
        "The gateway itself could not download the file.",
        "Look at the gateway's log. Have it download again, and replay with the new address.",
    ),
}
