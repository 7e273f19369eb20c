/** Events of Esteira and of the client itself, and the functions that hear them. */

import type { EsteiraError } from './errors.js';
import type { Receipt } from './receipt.js';

export const RESULT_TYPES = ['media.done', 'media.rejected', 'media.failed', 'media.expired'] as const;
export type ResultType = (typeof RESULT_TYPES)[number];

/** The result of an attachment (docs/webhooks.md). Names, captions and errors contain what strangers wrote. */
export interface MediaEvent {
    event_id: string;
    type: ResultType;
    at: string;
    id: string;
    gateway: string;
    session: string;
    message_id: string;
    chat: string | null;
    sender: string | null;
    chat_number: string | null;
    sender_number: string | null;
    caption: string | null;
    kind: string | null;
    mime: string | null;
    name: string | null;
    size: number | null;
    sha256: string | null;
    width: number | null;
    height: number | null;
    duration_ms: number | null;
    from_history: boolean;
    /** Only in media.done: a link to the content that is valid for seven days. */
    url: string | null;
    error: { code: string; message: string } | null;
    /** Only in media.expired: what is needed to ask for a new upload. */
    source?: Record<string, unknown>;
}

/** What `on` hears, by its name. */
export type ClientEvents = { [Type in ResultType]: MediaEvent } & {
    /** A hand-over of the spool was accepted. */
    delivered: Receipt;
    /** Live events may have been missed. */
    gap: { since: string | null };
    /** A failure that no caller hears of: of the spool, of the live connection. */
    error: EsteiraError;
};

export type Listener<T> = (event: T) => unknown;

const REMEMBERED = 2000; // results; a repeat comes within minutes

/** Calls listeners, and waits for them. A result that was heard is not heard again. */
export class Emitter {
    private readonly listeners = new Map<string, Set<Listener<never>>>();
    private readonly heard = new Set<string>();
    private readonly running = new Map<string, Promise<void>>();

    on<Name extends keyof ClientEvents>(name: Name, listener: Listener<ClientEvents[Name]>): void {
        const known = this.listeners.get(name) ?? new Set();
        this.listeners.set(name, known.add(listener as Listener<never>));
    }

    off<Name extends keyof ClientEvents>(name: Name, listener: Listener<ClientEvents[Name]>): void {
        this.listeners.get(name)?.delete(listener as Listener<never>);
    }

    /** Calls the listeners of an event. Throws what one of them throws, after all were called. */
    async emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): Promise<void> {
        const listeners = [...(this.listeners.get(name) ?? [])] as Listener<ClientEvents[Name]>[];
        const ends = await Promise.allSettled(listeners.map(async (listener) => listener(event)));
        for (const end of ends) if (end.status === 'rejected') throw end.reason;
    }

    /** Emits a result once, from whatever source it comes. If a listener throws, its repeat is emitted again. */
    async emitResult(event: MediaEvent): Promise<void> {
        if (this.heard.has(event.event_id)) return;
        const earlier = this.running.get(event.event_id);
        if (earlier) return earlier;
        const emitted = this.emit(event.type, event).finally(() => this.running.delete(event.event_id));
        this.running.set(event.event_id, emitted);
        await emitted;
        this.heard.add(event.event_id);
        const [oldest] = this.heard;
        if (oldest !== undefined && this.heard.size > REMEMBERED) this.heard.delete(oldest);
    }

    /** Reports a failure that no caller hears of. Without a listener it is written to stderr. */
    report(error: EsteiraError): void {
        if (!this.listeners.get('error')?.size) {
            console.error(`esteira-client: ${error.message} (${error.code})`);
            return;
        }
        this.emit('error', error).catch((failure: unknown) => {
            console.error(`esteira-client: a listener of "error" failed: ${String(failure)}`);
        });
    }
}
