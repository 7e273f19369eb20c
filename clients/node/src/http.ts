/** Requests to the server. Every failure becomes an EsteiraError that says whether a later request may succeed. */

import { Deadline } from './deadline.js';
import { EsteiraError, RefusedError, UnauthorizedError, UnavailableError, systemCode } from './errors.js';

export const MAX_RETRY_AFTER_S = 600;
const MAX_REPLY_BYTES = 16 * 2 ** 20;
const NOT_NOW = new Set([408, 425, 429]);

/** Bytes that are sent in pieces, so that a file is never in memory as a whole. */
export type Body = string | AsyncIterable<Uint8Array>;

export interface Call {
    method?: string;
    path: string;
    body?: Body;
    contentType?: string;
    headers?: Record<string, string>;
    signal?: AbortSignal;
    /** Whether a redirect is an answer. */
    mayRedirect?: boolean;
}

/** The address and the token of a server. */
export class Server {
    private readonly authorization: string;

    constructor(
        private readonly url: string,
        token: string,
    ) {
        // A header holds bytes: those of the token in UTF-8.
        this.authorization = Buffer.from(`Bearer ${token}`, 'utf8').toString('latin1');
    }

    /** The JSON in the answer to a call; the time-out covers the whole answer. */
    async json(call: Call & { timeoutMs: number }): Promise<unknown> {
        const deadline = new Deadline(call.timeoutMs, call.signal);
        try {
            const answer = await this.open({ ...call, signal: deadline.signal });
            const text = await bodyText(answer).catch((error: unknown) => {
                throw lostAnswer(error, deadline.signal);
            });
            return parsed(text, answer.status);
        } finally {
            deadline.release();
        }
    }

    /** The answer to a call, if it is a success; for content also a redirect to the object store. */
    async open(call: Call): Promise<Response> {
        const answer = await this.send(call);
        if (answer.status >= 200 && answer.status < 300) return answer;
        if (answer.status === 307 && call.mayRedirect) return answer;
        throw refusal(answer, await bodyText(answer).catch(() => ''));
    }

    private async send(call: Call): Promise<Response> {
        const headers: Record<string, string> = { Authorization: this.authorization, ...call.headers };
        if (call.body !== undefined) headers['Content-Type'] = call.contentType ?? 'application/json';
        const init: Record<string, unknown> = { method: call.method ?? 'GET', headers, redirect: 'manual' };
        if (call.signal) init['signal'] = call.signal;
        if (call.body !== undefined) {
            init['body'] = call.body;
            // Without these two, fetch keeps a copy of what it has sent, for a redirect: the whole file in memory.
            if (typeof call.body !== 'string') Object.assign(init, { duplex: 'half', redirect: 'error', window: null });
        }
        try {
            return await fetch(this.url + call.path, init as RequestInit);
        } catch (error) {
            throw lostAnswer(error, call.signal);
        }
    }
}

/** The error for a request without an answer. */
function lostAnswer(error: unknown, deadline?: AbortSignal): EsteiraError {
    // An error of the file that is sent; some versions of Node wrap it.
    for (const one of [error, (error as { cause?: unknown } | null)?.cause]) if (one instanceof EsteiraError) return one;
    if (deadline?.aborted) {
        if ((deadline.reason as Error | undefined)?.name !== 'TimeoutError')
            return new EsteiraError('aborted', 'aborted');
        return new UnavailableError('timeout', 'the server did not answer in time');
    }
    const cause = (error as { cause?: unknown } | null)?.cause;
    if (cause instanceof Error && cause.message === 'unexpected redirect') return redirected(null);
    const code = systemCode(cause) || systemCode(error);
    return new UnavailableError('unreachable', `the server cannot be reached${code ? ` (${code})` : ''}`);
}

function parsed(text: string, status: number): unknown {
    try {
        return JSON.parse(text) as unknown;
    } catch {
        const message = 'the answer is not JSON: something else answers at this address';
        throw new UnavailableError('bad_reply', message, { status });
    }
}

async function bodyText(answer: Response): Promise<string> {
    if (!answer.body) return '';
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
        size += part.length;
        if (size > MAX_REPLY_BYTES) throw new UnavailableError('bad_reply', 'the answer is too long');
        parts.push(part);
    }
    return Buffer.concat(parts).toString('utf8');
}

/** The error for an answer that is no success. */
export function refusal(answer: Response, text: string): EsteiraError {
    const status = answer.status;
    const own = esteiraError(text);
    const code = own?.code ?? `http_${status}`;
    const message = own ? own.message : `something in front of the server answers ${status}`;
    if (NOT_NOW.has(status) || status >= 500 || (status === 404 && !own)) {
        return new UnavailableError(code, message, { status, retryAfterS: retryAfter(answer) });
    }
    if (status >= 300 && status < 400) return redirected(status);
    if (status === 401 || status === 403) return new UnauthorizedError(code, message, { status });
    return new RefusedError(code, message, { status });
}

/** The error for a redirect; fetch hides its status from a request that sends a file. */
function redirected(status: number | null): RefusedError {
    return new RefusedError('redirected', 'the server redirects: set url (ESTEIRA_URL) to its own address', { status });
}

function esteiraError(text: string): { code: string; message: string } | null {
    try {
        const { code, message } = (JSON.parse(text) as { error: { code: unknown; message: unknown } }).error;
        return typeof code === 'string' ? { code, message: String(message) } : null;
    } catch {
        return null;
    }
}

/** The seconds in Retry-After, which may also be a date; null if there are none. */
function retryAfter(answer: Response): number | null {
    const text = answer.headers.get('retry-after') ?? '';
    const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
    return Number.isNaN(seconds) ? null : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_S);
}
