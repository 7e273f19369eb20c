/** The stored bytes of an attachment, as a stream. */

import { Readable } from 'node:stream';
import { Deadline } from './deadline.js';
import { UnavailableError } from './errors.js';
import { refusal } from './http.js';
import type { Call, Server } from './http.js';
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
export async function openContent(
    server: Server,
    path: string,
    { timeoutMs, ...options }: ContentOptions & { timeoutMs: number },
): Promise<Content> {
    const headers: Record<string, string> = options.range ? { Range: options.range } : {};
    const head = new Deadline(timeoutMs, options.signal);
    const answer = await headOf(server, { path, headers, signal: head.signal })
        .catch((error: unknown) => {
            head.release();
            throw error;
        })
        .finally(() => head.isKept());
    const length = answer.headers.get('content-length');
    const stream = answer.body ? Readable.fromWeb(answer.body as ReadableStream) : Readable.from([]);
    stream.once('close', () => head.release());
    return {
        stream,
        mimetype: answer.headers.get('content-type'),
        size: length === null ? null : Number(length),
        filename: filenameOf(answer.headers.get('content-disposition') ?? ''),
    };
}

async function headOf(server: Server, call: Call & { signal: AbortSignal }): Promise<Response> {
    const answer = await server.open({ ...call, mayRedirect: true });
    const store = answer.status === 307 ? answer.headers.get('location') : null;
    if (!store) return answer;
    // Without the token: it is another server, and the address is signed.
    return fromStore(new URL(store, answer.url), { headers: call.headers ?? {}, signal: call.signal });
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
