/**
 * The spool: a folder with one file for each hand-over that the server has not accepted yet.
 *
 * A file is complete when it has its name: it is written under another name, synced and renamed, and then the folder is
 * synced. The form of the files and the names are described in clients/README.md; the Python client has the same.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MessageError, SpoolError, SpoolFullError, systemCode } from '../errors.js';
import { Slots } from '../slots.js';
import { checkedEntry } from './entry.js';
import { exists, ignoreMissing, sizeOf, sizeOfFiles, syncFolder, unlinkIfThere, writeBytes } from './files.js';
import type { HandOver } from '../messages/form.js';
import type { SpoolSettings } from '../options.js';
import type { Entry } from './entry.js';

const NAME = /^\d{13}-[0-9a-f]{8}-\d{6}\.json$/;
const LEFTOVER = /^(?:\d{13}-[0-9a-f]{8}-\d{6}\.(?:json\.tmp|bin|bin\.tmp)|lock[.-][0-9a-f]{8}\.tmp)$/;
const UNREADABLE = new Set(['EACCES', 'EISDIR', 'EPERM']);
const LEFTOVER_MS = 3_600_000; // after which a file without its entry is the rest of a process that was killed
const MEASURE_EVERY_MS = 10_000;
const MAX_ASIDE = 1000;
const ASIDE = 'aside';
const WRITERS = 8; // files that are written at the same time

export class SpoolFolder {
    private readonly mark = randomBytes(4).toString('hex');
    private readonly slots = new Slots(WRITERS);
    private counter = 0;
    private lastMs = 0;
    private entries = 0;
    private bytes = 0;
    /** What is reserved and not written yet, which no count of the folder sees. */
    private readonly pending = { entries: 0, bytes: 0 };
    private measuredAt = Number.NEGATIVE_INFINITY;
    private measuring: Promise<void> | null = null;
    /** What was written since the last count of the folder began, by name: the count may have missed it. */
    private written = new Map<string, number>();

    constructor(readonly settings: SpoolSettings) {}

    get path(): string {
        return this.settings.folder;
    }

    /** Writes a hand-over. It is on the disk when this returns. Throws SpoolError; MessageError: no file to read. */
    async add(handOver: HandOver): Promise<void> {
        const name = this.newName();
        const size = handOver.bytes ? await sizeOf(handOver.bytes) : 0;
        const text = entryText(name, handOver, size);
        const reserved = Buffer.byteLength(text) + size;
        await this.reserve(reserved);
        try {
            const bytes = await this.slots.run(() => this.write(name, handOver, { text, size }));
            this.entries += 1;
            this.bytes += bytes;
            this.written.set(name, bytes);
        } catch (error) {
            throw await this.writeError(error, name);
        } finally {
            this.pending.entries -= 1;
            this.pending.bytes -= reserved;
        }
    }

    /** The names of the hand-overs in their order. Throws SpoolError. */
    async list(): Promise<string[]> {
        try {
            return (await readdir(this.path)).filter((name) => NAME.test(name)).sort();
        } catch (error) {
            if (systemCode(error) === 'ENOENT') return [];
            throw spoolFailed(error);
        }
    }

    /** A hand-over; null if another process has sent it. Throws SpoolError `spool_damaged`. */
    async read(name: string): Promise<Entry | null> {
        let text: string;
        try {
            text = await readFile(join(this.path, name), 'utf8');
        } catch (error) {
            const code = systemCode(error);
            if (code === 'ENOENT') return null;
            if (UNREADABLE.has(code)) throw new SpoolError('spool_damaged', `${name}: it cannot be read (${code})`);
            throw spoolFailed(error);
        }
        const entry = checkedEntry(name, text);
        if (entry.file && (await sizeOf({ file: this.fileOf(entry) }).catch(() => -1)) !== entry.file.size) {
            if (!(await this.has(name))) return null; // sent meanwhile
            throw new SpoolError('spool_damaged', `${name}: its bytes are missing or incomplete`);
        }
        return entry;
    }

    has(name: string): Promise<boolean> {
        return exists(join(this.path, name));
    }

    /** The path of the bytes of a hand-over. */
    fileOf(entry: Entry): string {
        return join(this.path, entry.file?.name ?? '');
    }

    /** Deletes a hand-over that was accepted. */
    async remove(name: string): Promise<void> {
        await unlinkIfThere(join(this.path, name));
        await unlinkIfThere(join(this.path, binOf(name)));
        this.entries = Math.max(0, this.entries - 1); // the bytes are counted again when there is no room
    }

    /** Moves a hand-over that will not be sent to the folder `aside`. */
    async setAside(name: string): Promise<void> {
        const aside = join(this.path, ASIDE);
        await mkdir(aside, { recursive: true, mode: 0o700 });
        for (const one of [binOf(name), name]) {
            await rename(join(this.path, one), join(aside, one)).catch(ignoreMissing);
        }
        const kept = (await readdir(aside)).filter((one) => NAME.test(one)).sort();
        for (const old of kept.slice(0, Math.max(0, kept.length - MAX_ASIDE))) {
            await unlinkIfThere(join(aside, old));
            await unlinkIfThere(join(aside, binOf(old)));
        }
        this.measuredAt = Number.NEGATIVE_INFINITY;
    }

    private newName(): string {
        this.lastMs = Math.max(this.lastMs, Date.now());
        this.counter = (this.counter + 1) % 1_000_000;
        return `${String(this.lastMs).padStart(13, '0')}-${this.mark}-${String(this.counter).padStart(6, '0')}.json`;
    }

    /** Writes the files of an entry; returns their size. The expected size of its bytes is in its text. */
    private async write(name: string, handOver: HandOver, expected: { text: string; size: number }): Promise<number> {
        const size = handOver.bytes ? await writeBytes(join(this.path, binOf(name)), handOver.bytes) : 0;
        // A file may have grown meanwhile.
        const text = size === expected.size ? expected.text : entryText(name, handOver, size);
        const temporary = join(this.path, `${name}.tmp`);
        const file = await open(temporary, 'wx', 0o600);
        try {
            await file.writeFile(text);
            await file.sync();
        } finally {
            await file.close();
        }
        await rename(temporary, join(this.path, name));
        await syncFolder(this.path);
        return Buffer.byteLength(text) + size;
    }

    /** Counts a hand-over before it is written. Throws SpoolFullError if there is no room for it. */
    private async reserve(bytes: number): Promise<void> {
        if (performance.now() - this.measuredAt > MEASURE_EVERY_MS || !this.hasRoom(bytes)) await this.measure();
        if (!this.hasRoom(bytes)) {
            const { maxEntries, maxBytes } = this.settings;
            throw new SpoolFullError(`the spool is full: at most ${maxEntries} hand-overs and ${maxBytes} bytes`);
        }
        this.pending.entries += 1;
        this.pending.bytes += bytes;
    }

    private hasRoom(bytes: number): boolean {
        const { maxEntries, maxBytes } = this.settings;
        const { pending } = this;
        return this.entries + pending.entries < maxEntries && this.bytes + pending.bytes + bytes <= maxBytes;
    }

    /** Counts what is in the folder, once for all that ask at the same time. Throws SpoolError. */
    private measure(): Promise<void> {
        this.measuring ??= this.count()
            .catch((error: unknown) => {
                throw spoolFailed(error);
            })
            .finally(() => {
                this.measuring = null;
            });
        return this.measuring;
    }

    /** Creates the folder and counts what is in it. Deletes what killed processes have left. */
    private async count(): Promise<void> {
        this.written = new Map();
        const created = await mkdir(this.path, { recursive: true, mode: 0o700 });
        if (created) await syncFolder(dirname(created));
        const known = new Set(await readdir(this.path));
        let [entries, bytes] = [0, await sizeOfFiles(join(this.path, ASIDE))];
        for (const name of known) {
            const status = await stat(join(this.path, name)).catch(() => null);
            if (!status?.isFile()) continue;
            bytes += status.size;
            if (NAME.test(name)) entries += 1;
            else if (isLeftover(name, known) && Date.now() - status.mtimeMs > LEFTOVER_MS) {
                await unlinkIfThere(join(this.path, name));
            }
        }
        for (const [name, size] of this.written) {
            if (known.has(name)) continue;
            entries += 1;
            bytes += size;
        }
        [this.entries, this.bytes, this.measuredAt] = [entries, bytes, performance.now()];
    }

    private async writeError(error: unknown, name: string): Promise<MessageError | SpoolError> {
        await unlinkIfThere(join(this.path, `${name}.tmp`)).catch(() => undefined);
        await unlinkIfThere(join(this.path, binOf(name))).catch(() => undefined);
        return error instanceof MessageError ? error : spoolFailed(error);
    }
}

function entryText(name: string, handOver: HandOver, size: number): string {
    const entry: Entry = {
        v: 1,
        path: handOver.path,
        id: handOver.id,
        message_id: handOver.messageId,
        at: Number(name.slice(0, 13)),
        ...(handOver.bytes
            ? { fields: handOver.fields ?? {}, file: { name: binOf(name), size } }
            : { body: handOver.body ?? {} }),
    };
    return JSON.stringify(entry);
}

function binOf(name: string): string {
    return name.replace(/json$/, 'bin');
}

function isLeftover(name: string, known: ReadonlySet<string>): boolean {
    return LEFTOVER.test(name) && !(name.endsWith('.bin') && known.has(name.replace(/bin$/, 'json')));
}

/** The error for a folder that cannot be read or written. It has the system's code and no content. */
export function spoolFailed(error: unknown): SpoolError {
    if (error instanceof SpoolError) return error;
    return new SpoolError('spool_failed', `the spool cannot be used: ${systemCode(error) || 'unknown error'}`);
}
