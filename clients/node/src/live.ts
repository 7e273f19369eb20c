/** Live events over Socket.IO, with the package `socket.io-client` of the listener. */

import { EsteiraError, OptionError } from './errors.js';
import { RESULT_TYPES } from './events.js';
import type { Emitter, MediaEvent } from './events.js';

/** The part of a socket of socket.io-client that is used here. */
interface Socket {
    on(name: string, listener: (argument: never) => void): void;
    disconnect(): void;
}
type Connect = (url: string, options: object) => Socket;

export interface LiveOptions {
    /** The `event_id` of the last event that was heard, to hear those after it. */
    since?: string;
    /** Called with the `event_id` of each event after its listeners, to keep it in a file. */
    onSince?: (eventId: string) => unknown;
}

/** A live connection. It connects again by itself, and hears what it has missed. */
export interface LiveConnection {
    /** The `event_id` of the last event. */
    readonly since: string | undefined;
    close(): void;
}

/** Connects. Throws OptionError if `socket.io-client` is not installed. */
export async function connectLive(
    server: { url: string; token: string },
    emitter: Emitter,
    options: LiveOptions = {},
): Promise<LiveConnection> {
    const connect = await socketClient();
    let since = options.since;
    let order = Promise.resolve();
    const auth = (send: (value: object) => void): void => send({ token: server.token, since });
    const socket = connect(server.url, { transports: ['websocket'], auth });
    for (const type of RESULT_TYPES) {
        socket.on(type, (event: MediaEvent) => {
            order = order.then(() => hear(event));
        });
    }
    async function hear(event: MediaEvent): Promise<void> {
        try {
            await emitter.emitResult(event);
        } catch (error) {
            emitter.report(new EsteiraError('listener', `a listener of ${event.type} failed: ${String(error)}`));
        }
        since = event.event_id;
        await keep(event.event_id);
    }
    async function keep(eventId: string): Promise<void> {
        try {
            await options.onSince?.(eventId);
        } catch (error) {
            emitter.report(new EsteiraError('listener', `onSince failed: ${String(error)}`));
        }
    }
    socket.on('esteira.gap', (gap: { since: string | null }) => {
        emitter.emit('gap', gap).catch(() => undefined);
    });
    socket.on('connect_error', (error: Error & { data?: { code?: string } }) => {
        emitter.report(
            new EsteiraError(error.data?.code ?? 'live', `live events: ${error.message}`, { retryable: true }),
        );
    });
    return {
        get since() {
            return since;
        },
        close: () => socket.disconnect(),
    };
}

async function socketClient(): Promise<Connect> {
    // A variable, so that the compiler needs no types of a package that may not be there.
    const name = 'socket.io-client';
    try {
        return ((await import(name)) as { io: Connect }).io;
    } catch {
        throw new OptionError('live events need the package socket.io-client: npm install socket.io-client');
    }
}
