/** Sends what is in the spool, in order, as soon as the server answers. It runs while the spool has entries. */

import { EsteiraError, SpoolError, UnauthorizedError, UnavailableError } from '../errors.js';
import { spoolFailed } from './folder.js';
import { SpoolLock } from './lock.js';
import type { Receipt } from '../receipt.js';
import type { Entry } from './entry.js';
import type { SpoolFolder } from './folder.js';

const AT_ONCE = 8; // hand-overs that are sent at the same time, in their order
const FIRST_WAIT_MS = 250;
const MAX_WAIT_MS = 5000;
const WRONG_OPTION_WAIT_MS = 60_000; // until a person has corrected the token or the URL
const OTHER_SENDER_WAIT_MS = 1000;
const MAX_REFUSALS = 3; // answers of an entry's own after which it is passed over in each round

/** What the sender tells its client. */
export interface SenderEvents {
    send(entry: Entry, signal: AbortSignal): Promise<Receipt>;
    delivered(receipt: Receipt): void;
    /** The server has answered: further hand-overs may be sent directly. */
    isBack(): void;
    report(error: EsteiraError): void;
}

/** The end of a round before the last entry. `error` is the reason. */
interface Stop {
    waitMs: number | null;
    error: EsteiraError;
}

export class SpoolSender {
    private readonly lock: SpoolLock;
    private readonly refusals = new Map<string, number>();
    private running: Promise<void> | null = null;
    private readonly closing = new AbortController();
    private wakeUp: (() => void) | null = null;
    /** The code of the failure that was reported last; null after a success. */
    private reported: string | null = null;
    private isAgain = false;

    constructor(
        private readonly folder: SpoolFolder,
        private readonly events: SenderEvents,
    ) {
        this.lock = new SpoolLock(folder.path);
    }

    /** Starts to send, if it does not already. */
    start(): void {
        this.isAgain = true;
        if (this.closed || this.running) return;
        this.running = this.run().finally(() => {
            this.running = null;
            if (this.isAgain) this.start();
        });
    }

    /** Ends a wait. */
    wake(): void {
        this.wakeUp?.();
    }

    /** Waits until the spool is empty, at most so long; returns whether it is. */
    async flush(timeoutMs: number): Promise<boolean> {
        const end = performance.now() + timeoutMs;
        this.start();
        this.wake();
        for (;;) {
            if ((await this.folder.list()).length === 0) return true;
            if (performance.now() >= end) return false;
            await new Promise((resume) => setTimeout(resume, Math.min(50, end - performance.now())));
        }
    }

    /** Stops. What is being sent stays in the spool: if the server has it already, the repeat does no harm. */
    async close(): Promise<void> {
        this.closing.abort();
        this.isAgain = false;
        this.wake();
        await this.running;
    }

    private get closed(): boolean {
        return this.closing.signal.aborted;
    }

    private async run(): Promise<void> {
        let waitMs = FIRST_WAIT_MS;
        try {
            while (!this.closed) {
                this.isAgain = false;
                const names = await this.folder.list();
                if (names.length === 0) break;
                if (!(await this.lock.acquire())) {
                    await this.sleep(OTHER_SENDER_WAIT_MS);
                    this.isAgain = true;
                    continue;
                }
                const stop = await this.round(names);
                if (!stop) {
                    waitMs = FIRST_WAIT_MS;
                    if (this.refusals.size) await this.sleep(MAX_WAIT_MS);
                    continue;
                }
                await this.sleep(stop.waitMs ?? spread(waitMs));
                waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
            }
            this.events.isBack(); // an empty spool: this process or another one has sent everything
        } catch (error) {
            this.reportOnce(spoolFailed(error));
            await this.sleep(MAX_WAIT_MS);
            this.isAgain = !this.closed;
        } finally {
            await this.lock.release();
        }
    }

    private async round(names: readonly string[]): Promise<Stop | null> {
        for (let at = 0; at < names.length && !this.closed; at += AT_ONCE) {
            const stops = await Promise.all(names.slice(at, at + AT_ONCE).map((name) => this.sendOne(name)));
            const stop = stops.find((one) => one);
            if (stop) return stop;
        }
        return null;
    }

    private async sendOne(name: string): Promise<Stop | null> {
        let entry: Entry | null = null;
        let receipt: Receipt;
        try {
            entry = await this.folder.read(name);
            if (!entry) return null;
            const { maxAgeMs } = this.folder.settings;
            if (Date.now() - entry.at > maxAgeMs)
                throw new SpoolError('spool_expired', `${name}: it is too old to be sent`);
            receipt = await this.events.send(entry, this.closing.signal);
            await this.folder.remove(name);
        } catch (error) {
            return this.failed(name, entry, error);
        }
        this.refusals.delete(name);
        this.reported = null;
        this.events.isBack();
        this.events.delivered(receipt);
        return null;
    }

    /** What a failure means for the round. Entries that can never be sent are moved aside. */
    private async failed(name: string, entry: Entry | null, error: unknown): Promise<Stop | null> {
        if (!(error instanceof EsteiraError) || error.code === 'spool_failed') throw error;
        if (this.closed) return { waitMs: null, error };
        if (error instanceof UnauthorizedError || error.code === 'redirected') {
            this.reportOnce(error);
            this.events.isBack();
            return { waitMs: WRONG_OPTION_WAIT_MS, error };
        }
        if (error instanceof UnavailableError) return this.unavailable(name, entry, error);
        if (!(await this.folder.has(name))) return null; // another process has sent it
        try {
            await this.folder.setAside(name);
        } catch (failure) {
            this.reportOnce(spoolFailed(failure));
            this.refusals.set(name, MAX_REFUSALS);
            return null;
        }
        this.refusals.delete(name);
        this.events.report(
            new EsteiraError(error.code, `${name} was moved aside and will not be sent: ${error.message}`, error),
        );
        return null;
    }

    private unavailable(name: string, entry: Entry | null, error: UnavailableError): Stop | null {
        // A large file may need longer than the server or the network allow, which says nothing about the others.
        const isItsOwn = error.status === null ? entry?.file !== undefined : error.status >= 500;
        const count = (this.refusals.get(name) ?? 0) + (isItsOwn ? 1 : 0);
        if (isItsOwn) this.refusals.set(name, count);
        if (count > MAX_REFUSALS) return null;
        return { waitMs: error.retryAfterS === null ? null : error.retryAfterS * 1000, error };
    }

    /** Reports a failure that comes again with each attempt. */
    private reportOnce(error: EsteiraError): void {
        if (this.reported !== error.code) this.events.report(error);
        this.reported = error.code;
    }

    private async sleep(ms: number): Promise<void> {
        if (this.closed) return;
        await new Promise<void>((resume) => {
            const timer = setTimeout(resume, ms);
            timer.unref(); // the entries are sent after the next start
            this.wakeUp = () => {
                clearTimeout(timer);
                resume();
            };
        });
        this.wakeUp = null;
    }
}

/** A time, a fifth more or less, so that several listeners do not come at once. */
function spread(ms: number): number {
    return ms * (0.8 + 0.4 * Math.random());
}
