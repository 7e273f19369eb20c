/**
 * The lock of a spool: the process that holds it sends. A killed process leaves its lock, which is taken over when it
 * was not renewed for a while. Two senders at a time, after a long stop of one, only send the same message twice.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, stat, unlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '../errors.js';

const RENEW_MS = 2000;
const STALE_MS = 10_000;
const DISK_IS_FULL = new Set(['ENOSPC', 'EDQUOT']);

export class SpoolLock {
    private readonly path: string;
    private readonly owner = `${process.pid} ${randomBytes(8).toString('hex')}`;
    private timer: NodeJS.Timeout | null = null;

    constructor(folder: string) {
        this.path = join(folder, 'lock');
    }

    /** Whether this process holds the lock, or has got it now. */
    async acquire(): Promise<boolean> {
        if (this.timer) {
            if (await this.isOwn()) return true;
            this.stop();
        }
        if (await this.isStale()) await this.discard();
        try {
            await this.create();
        } catch (error) {
            const code = systemCode(error);
            if (code === 'EEXIST') return false;
            if (!DISK_IS_FULL.has(code)) throw error;
            return true; // without a lock: only sending makes room on a full disk
        }
        this.timer = setInterval(() => void this.renew(), RENEW_MS);
        this.timer.unref();
        return true;
    }

    async release(): Promise<void> {
        if (!this.timer) return;
        this.stop();
        if (await this.isOwn()) await unlink(this.path).catch(() => undefined);
    }

    private async create(): Promise<void> {
        await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
        const file = await open(this.path, 'wx', 0o600);
        try {
            await file.writeFile(this.owner);
        } catch (error) {
            await unlink(this.path).catch(() => undefined);
            throw error;
        } finally {
            await file.close();
        }
    }

    private stop(): void {
        if (this.timer) clearInterval(this.timer);
        this.timer = null;
    }

    private async renew(): Promise<void> {
        const now = new Date();
        await utimes(this.path, now, now).catch(() => undefined); // `acquire` notices that it is gone
    }

    private async isOwn(): Promise<boolean> {
        return (await readFile(this.path, 'utf8').catch(() => '')) === this.owner;
    }

    private async isStale(): Promise<boolean> {
        const status = await stat(this.path).catch(() => null);
        // A time in the future: the clock was set back, and the owner would have renewed the lock since.
        return status !== null && Math.abs(Date.now() - status.mtimeMs) > STALE_MS;
    }

    private async discard(): Promise<void> {
        const aside = `${this.path}.${randomBytes(4).toString('hex')}.tmp`;
        await rename(this.path, aside)
            .then(() => unlink(aside))
            .catch(() => undefined); // another process was faster
    }
}
