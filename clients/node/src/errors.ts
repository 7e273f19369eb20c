/** The errors of this package. None of their messages holds a token, a media key or a URL's query. */

const MAX_MESSAGE = 500;

/** Details of an error that an answer of the server, or its absence, has caused. */
export interface ErrorDetails {
    /** The HTTP status; null if there was no answer. */
    status?: number | null;
    /** Whether the same request may succeed later. */
    retryable?: boolean;
    /** Seconds to wait before that, as the server has asked. */
    retryAfterS?: number | null;
}

/** Every error that a hand-over or a call of the API raises. `code` is stable; programs compare it. */
export class EsteiraError extends Error {
    readonly code: string;
    readonly status: number | null;
    readonly retryable: boolean;
    readonly retryAfterS: number | null;

    constructor(code: string, message: string, details: ErrorDetails = {}) {
        super(message.slice(0, MAX_MESSAGE));
        this.name = new.target.name;
        this.code = code;
        this.status = details.status ?? null;
        this.retryable = details.retryable ?? false;
        this.retryAfterS = details.retryAfterS ?? null;
    }
}

/** The server does not answer, or says "not now". A hand-over that meets it is written to the spool. */
export class UnavailableError extends EsteiraError {
    constructor(code: string, message: string, details: ErrorDetails = {}) {
        super(code, message, { ...details, retryable: true });
    }
}

/** The server refuses the request for good: the same request would be refused again. */
export class RefusedError extends EsteiraError {}

/** 401 or 403: the token is missing, wrong, or may not do this. */
export class UnauthorizedError extends RefusedError {}

/** A message that cannot be handed over: its form is unknown, or a field is missing. */
export class MessageError extends EsteiraError {
    constructor(message: string) {
        super('bad_message', message);
    }
}

/** An option of this package is wrong. */
export class OptionError extends EsteiraError {
    constructor(message: string) {
        super('bad_option', message);
    }
}

/** The spool takes no further hand-over: it is full (`spool_full`), or cannot be written (`spool_failed`). */
export class SpoolError extends EsteiraError {
    constructor(code: 'spool_failed' | 'spool_damaged' | 'spool_expired' | 'spool_full', message: string) {
        super(code, message, { retryable: code === 'spool_full' || code === 'spool_failed' });
    }

    /** The same error, whose message says why the server has not taken the hand-over. */
    after(reason: EsteiraError): this {
        this.message = `${this.message}; before: ${reason.message} (${reason.code})`.slice(0, MAX_MESSAGE);
        return this;
    }
}

/** The spool has `maxEntries` hand-overs or `maxBytes` bytes. The listener still has the message. */
export class SpoolFullError extends SpoolError {
    constructor(message: string) {
        super('spool_full', message);
    }
}

/** A request that Esteira has not signed: `bad_signature`, `too_old` or `bad_body`. */
export class WebhookError extends EsteiraError {}

/** The code of a system error, such as ENOSPC; an empty text for another value. */
export function systemCode(error: unknown): string {
    const code = (error as { code?: unknown } | null)?.code;
    return typeof code === 'string' ? code : '';
}
