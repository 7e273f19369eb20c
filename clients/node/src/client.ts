/** The client of a server of Esteira. */

import { openContent } from './content.js';
import { EsteiraError, OptionError } from './errors.js';
import { Emitter } from './events.js';
import { Handler } from './handover.js';
import { Server } from './http.js';
import { connectLive } from './live.js';
import { base64 } from './messages/plain.js';
import { settingsOf } from './options.js';
import { verifyWebhook, webhookHandler } from './webhooks.js';
import type { Content, ContentOptions } from './content.js';
import type { ClientEvents, Listener, MediaEvent } from './events.js';
import type { LiveConnection, LiveOptions } from './live.js';
import type { FormName } from './messages/index.js';
import type { ClientOptions, Settings } from './options.js';
import type { Receipt, Status } from './receipt.js';
import type { HeaderSource, VerifyOptions, WebhookHandler } from './webhooks.js';

const NOT_ENDED_MS = 3000;
const NOT_ENDED_PAUSE_MS = 250;

/** An attachment of the catalogue (docs/api.md). */
export interface MediaRecord {
    id: string;
    gateway: string;
    session: string;
    message_id: string;
    status: Status;
    error: string | null;
    content: string | null;
    [field: string]: unknown;
}

/** An attachment that is processed again. */
export interface Replay {
    id: string;
    status: Status;
    stage: string;
}

/** A new source for a replay. */
export interface ReplaySource {
    /** The whole file: bytes, or base64. */
    data?: Uint8Array | string;
    url?: string;
    direct_path?: string;
    media_key?: string | null;
    file_sha256?: string | null;
    file_enc_sha256?: string | null;
    size?: number | null;
}

export interface HandOverOptions {
    /** The form of the message, where it cannot be told from the message itself. */
    form?: FormName;
}

/** Hands messages over, reads attachments, replays them and hears their results. */
export class EsteiraClient {
    private readonly settings: Settings;
    private readonly server: Server;
    private readonly emitter = new Emitter();
    private readonly handler: Handler;
    private readonly connections = new Set<LiveConnection>();

    /** Throws OptionError. A spool that is not empty is sent from now on. */
    constructor(options: ClientOptions = {}) {
        this.settings = settingsOf(options);
        this.server = new Server(this.settings.url, this.settings.token);
        this.handler = new Handler(this.settings, this.server, this.emitter);
    }

    /**
     * Hands a message over: of WPPConnect, whatsapp-web.js, Baileys or venom, or in the generic form. When it returns,
     * the message is recorded by the server, synced to the spool, or processed by the fallback.
     *
     * Throws EsteiraError if none of it was possible: the listener still has the message.
     */
    processMediaAsync(msg: object, session?: string, options: HandOverOptions = {}): Promise<Receipt> {
        return this.handler.handOver(msg, session, options.form ?? null);
    }

    /** The attachment with this id, with its history. */
    async media(id: string): Promise<MediaRecord> {
        const call = { path: `/media/${pathPart(id)}`, timeoutMs: this.settings.requestTimeoutMs };
        return (await this.server.json(call)) as MediaRecord;
    }

    /** The stored bytes of an attachment as a stream. */
    content(id: string, options: ContentOptions = {}): Promise<Content> {
        const timeoutMs = this.settings.requestTimeoutMs;
        return openContent(this.server, `/media/${pathPart(id)}/content`, { ...options, timeoutMs });
    }

    /**
     * Processes an attachment again that failed, was rejected or has expired; with a new source if one is given. An
     * attachment whose event is just being delivered has not ended yet: it is tried again for three seconds.
     */
    async replay(id: string, source: ReplaySource = {}): Promise<Replay> {
        const data = source.data instanceof Uint8Array ? { data: base64(source.data) } : {};
        const body = JSON.stringify({ ...source, ...data });
        const call = { method: 'POST', path: `/media/${pathPart(id)}/replay`, body };
        for (const end = performance.now() + NOT_ENDED_MS; ;) {
            try {
                return (await this.server.json({ ...call, timeoutMs: this.settings.requestTimeoutMs })) as Replay;
            } catch (error) {
                if (!(error instanceof EsteiraError && error.code === 'not_ended') || performance.now() > end) throw error;
            }
            await new Promise((resume) => setTimeout(resume, NOT_ENDED_PAUSE_MS));
        }
    }

    /** Hears results (`media.done` …), `delivered`, `gap` and `error`. Results come by `webhook()` or `connect()`. */
    on<Name extends keyof ClientEvents>(name: Name, listener: Listener<ClientEvents[Name]>): this {
        this.emitter.on(name, listener);
        return this;
    }

    off<Name extends keyof ClientEvents>(name: Name, listener: Listener<ClientEvents[Name]>): this {
        this.emitter.off(name, listener);
        return this;
    }

    /** A handler of webhooks for node:http and Express. It answers after the listeners of the event have ended. */
    webhook(): WebhookHandler {
        const accept = (event: MediaEvent): Promise<void> => this.emitter.emitResult(event);
        return webhookHandler(this.settings.webhookSecrets, accept, (error) => this.emitter.report(error));
    }

    /** The event in a request that was read elsewhere; see `verifyWebhook`. */
    verify(headers: HeaderSource, body: string | Uint8Array, options: VerifyOptions = {}): MediaEvent {
        return verifyWebhook(headers, body, this.settings.webhookSecrets, options);
    }

    /** Hears results as they happen, over Socket.IO. Needs the package socket.io-client. */
    async connect(options: LiveOptions = {}): Promise<LiveConnection> {
        const connection = await connectLive(this.settings, this.emitter, options);
        this.connections.add(connection);
        return connection;
    }

    /** Sends what is in the spool, and waits at most so long; returns whether the spool is empty. */
    flush(timeoutMs = 10_000): Promise<boolean> {
        return this.handler.flush(timeoutMs);
    }

    /** Stops sending and hearing. The spool keeps what is in it. */
    async close(): Promise<void> {
        for (const connection of this.connections) connection.close();
        await this.handler.close();
    }
}

function pathPart(id: string): string {
    if (!/^[0-9a-f]{32}$/.test(id)) throw new OptionError('an id has 32 hex digits');
    return id;
}
