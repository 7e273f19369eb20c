/** Hands messages over: to the server, else to the spool, else to the fallback. */

import { stat } from 'node:fs/promises';
import { EsteiraError, MessageError, SpoolError, UnavailableError } from './errors.js';
import { Slots } from './slots.js';
import { ignored, later, receiptOf } from './receipt.js';
import { handOverOf } from './messages/index.js';
import { multipart } from './multipart.js';
import { SpoolFolder } from './spool/folder.js';
import { SpoolSender } from './spool/sender.js';
import type { Emitter } from './events.js';
import type { Server } from './http.js';
import type { Bytes, HandOver } from './messages/form.js';
import type { FormName } from './messages/index.js';
import type { Settings } from './options.js';
import type { Receipt } from './receipt.js';
import type { Entry } from './spool/entry.js';

// The server receives 12 uploads of a token at the same time; 8 of them may be from the spool.
const UPLOADS = 4;
const BYTES_PER_MS = 256; // the slowest upload from the spool: 256 kB a second, after the usual time

export class Handler {
    private readonly folder: SpoolFolder | null;
    private readonly sender: SpoolSender | null;
    private readonly slots: Slots;
    private readonly uploadSlots: Slots;
    /** The failure because of which hand-overs go to the spool at once; null while the server answers. */
    private away: UnavailableError | null = null;

    constructor(
        private readonly settings: Settings,
        private readonly server: Server,
        private readonly emitter: Emitter,
    ) {
        this.slots = new Slots(settings.concurrency);
        this.uploadSlots = new Slots(Math.min(settings.concurrency, UPLOADS));
        this.folder = settings.spool && new SpoolFolder(settings.spool);
        this.sender = this.folder && this.senderOf(this.folder);
        this.sender?.start();
    }

    /** Hands a message over. Throws EsteiraError: then the listener still has the message. */
    async handOver(msg: object, session: string | undefined, form: FormName | null): Promise<Receipt> {
        const handOver = handOverOf(msg, session, form ?? this.settings.form);
        if (handOver.path === null) return ignored(handOver.messageId);
        if (handOver.bytes && 'file' in handOver.bytes) await checkFile(handOver.bytes.file);
        const error = await this.sent(handOver);
        if (!(error instanceof EsteiraError)) return error;
        if (!this.settings.fallback) throw error;
        const result = await this.settings.fallback(
            msg,
            session ?? String((msg as { session?: unknown }).session),
            error,
        );
        return { ...later('fallback', handOver.id, handOver.messageId, error), result };
    }

    async flush(timeoutMs: number): Promise<boolean> {
        return (await this.sender?.flush(timeoutMs)) ?? true;
    }

    async close(): Promise<void> {
        await this.sender?.close();
    }

    /** The receipt of the server or of the spool, or why neither takes it. Throws what the server refuses for good. */
    private async sent(handOver: HandOver): Promise<Receipt | EsteiraError> {
        if (!this.folder) return this.direct(handOver);
        const refused = this.away ? null : await this.direct(handOver);
        if (refused && !(refused instanceof UnavailableError)) return refused;
        const reason = refused ?? this.away ?? new UnavailableError('unreachable', 'the server was away');
        this.away = reason;
        const spooled = await this.spool(this.folder, handOver, reason);
        if (!(spooled instanceof SpoolError)) return spooled;
        // The server may have answered again since it was found to be away.
        const receipt = refused ?? (await this.direct(handOver));
        return receipt instanceof UnavailableError ? spooled.after(receipt) : receipt;
    }

    private async direct(handOver: HandOver): Promise<Receipt | UnavailableError> {
        const end = performance.now() + this.settings.timeoutMs;
        const before = this.away;
        try {
            return await (handOver.bytes ? this.uploadSlots : this.slots).run(async () => {
                if (this.away && this.away !== before) throw this.away; // another hand-over has found out meanwhile
                const timeoutMs = end - performance.now();
                if (timeoutMs <= 0) throw new UnavailableError('timeout', 'no answer in time: others are waiting too');
                const receipt = receiptOf(await this.request(handOver, timeoutMs), handOver.messageId);
                this.away = null;
                return receipt;
            });
        } catch (error) {
            if (error instanceof UnavailableError) return error;
            throw error;
        }
    }

    private async spool(folder: SpoolFolder, handOver: HandOver, reason: EsteiraError): Promise<Receipt | SpoolError> {
        try {
            await folder.add(handOver);
        } catch (error) {
            if (error instanceof SpoolError) return error;
            throw error;
        }
        this.sender?.start();
        return later('spooled', handOver.id, handOver.messageId, reason);
    }

    private request(handOver: HandOver, timeoutMs: number, signal?: AbortSignal): Promise<unknown> {
        const call = { method: 'POST', path: handOver.path, timeoutMs, ...(signal && { signal }) };
        if (!handOver.bytes) return this.server.json({ ...call, body: JSON.stringify(handOver.body) });
        return this.server.json({ ...call, ...multipart(handOver.fields ?? {}, handOver.bytes) });
    }

    private senderOf(folder: SpoolFolder): SpoolSender {
        return new SpoolSender(folder, {
            send: async (entry, signal) => {
                const size = entry.file?.size ?? 0;
                const timeoutMs = this.settings.requestTimeoutMs + size / BYTES_PER_MS;
                const answer = await this.request(handOverOfEntry(entry, folder), timeoutMs, signal);
                return receiptOf(answer, entry.message_id);
            },
            delivered: (receipt) => {
                this.emitter.emit('delivered', receipt).catch((error: unknown) => this.reportListener(error));
            },
            isBack: () => {
                this.away = null;
            },
            report: (error) => this.emitter.report(error),
        });
    }

    private reportListener(error: unknown): void {
        this.emitter.report(new EsteiraError('listener', `a listener of "delivered" failed: ${String(error)}`));
    }
}

function handOverOfEntry(entry: Entry, folder: SpoolFolder): HandOver {
    const handOver: HandOver = { path: entry.path, id: entry.id, messageId: entry.message_id };
    if (!entry.file) return { ...handOver, body: entry.body ?? {} };
    const bytes: Bytes = { file: folder.fileOf(entry) };
    return { ...handOver, fields: entry.fields ?? {}, bytes };
}

async function checkFile(path: string): Promise<void> {
    const status = await stat(path).catch(() => null);
    if (!status?.isFile()) throw new MessageError('file is not a file that can be read');
    if (status.size === 0) throw new MessageError('file is empty');
}
