/** The stored bytes of an attachment, as a stream. */

import { Readable } from 'node:stream';
import { UnavailableError } from './errors.js';
import { refusal } from './http.js';
import type { Server } from './http.js';
import type { ReadableStream } from 'node:stream/web';

export interface ContentOptions {
    /** A part of the bytes, such as `bytes=0-1023`. */
    range?: string;
    signal?: AbortSignal;
}

export interface Content {
    stream: Readable;
    /** The type that the content has, whatever the sender declared. */
    mimetype: string | null;
    /** The bytes in the stream. */
    size: number | null;
    filename: string | null;
}

/** Opens the content. Throws EsteiraError: 404 it is not stored (yet), 410 it was deleted. */
export async function openContent(server: Server, path: string, options: ContentOptions): Promise<Content> {
    const headers: Record<string, string> = options.range ? { Range: options.range } : {};
    const signal = options.signal ? { signal: options.signal } : {};
    let answer = await server.open({ path, headers, timeoutMs: 0, ...signal });
    const store = answer.status === 307 ? answer.headers.get('location') : null;
    // Without the token: it is another server, and the address is signed.
    if (store) answer = await fromStore(new URL(store, answer.url), { headers, ...signal });
    const length = answer.headers.get('content-length');
    return {
        stream: answer.body ? Readable.fromWeb(answer.body as ReadableStream) : Readable.from([]),
        mimetype: answer.headers.get('content-type'),
        size: length === null ? null : Number(length),
        filename: filenameOf(answer.headers.get('content-disposition') ?? ''),
    };
}

async function fromStore(url: URL, init: RequestInit): Promise<Response> {
    const answer = await fetch(url, init).catch(() => {
        throw new UnavailableError('unreachable', 'the object store cannot be reached; see CONTENT_REDIRECT');
    });
    if (!answer.ok) throw refusal(answer, '');
    return answer;
}

function filenameOf(disposition: string): string | null {
    const encoded = /filename\*=utf-8''([^;\s]+)/i.exec(disposition)?.[1];
    if (encoded) return decodeURIComponent(encoded);
    return /filename="([^"]*)"/i.exec(disposition)?.[1] ?? null;
}
