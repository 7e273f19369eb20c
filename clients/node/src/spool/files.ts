/** Single files of the spool. */

import { createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MessageError, systemCode } from '../errors.js';
import type { Bytes } from '../messages/form.js';

export const PIECE = 256 * 1024;
const TOO_MANY_FILES = new Set(['EMFILE', 'ENFILE']); // says nothing about the file

/** The number of bytes. Throws MessageError if their file cannot be read. */
export async function sizeOf(bytes: Bytes): Promise<number> {
    if ('data' in bytes) return bytes.data.length;
    return (await stat(bytes.file).catch(cannotBeRead)).size;
}

/** The bytes of a file in pieces. Throws MessageError if it cannot be read. */
export async function* fileStream(path: string): AsyncGenerator<Uint8Array> {
    try {
        yield* createReadStream(path, { highWaterMark: PIECE }) as AsyncIterable<Uint8Array>;
    } catch (error) {
        cannotBeRead(error);
    }
}

function cannotBeRead(error: unknown): never {
    const code = systemCode(error);
    if (TOO_MANY_FILES.has(code)) throw error;
    throw new MessageError(`file cannot be read (${code || 'unknown error'})`);
}

/** Writes bytes to a new file, and syncs it; returns how many there are. Throws MessageError if they cannot be read. */
export async function writeBytes(path: string, bytes: Bytes): Promise<number> {
    const source = 'data' in bytes ? Readable.from([bytes.data]) : fileStream(bytes.file);
    await pipeline(source, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
    const file = await open(path, 'r+');
    try {
        await file.sync();
        return (await file.stat()).size;
    } finally {
        await file.close();
    }
}

/** The size of all files in a folder; 0 if there is none. */
export async function sizeOfFiles(folder: string): Promise<number> {
    let size = 0;
    for (const name of await readdir(folder).catch(() => [])) {
        size += (await stat(join(folder, name)).catch(() => null))?.size ?? 0;
    }
    return size;
}

/** Syncs the names in a folder. */
export async function syncFolder(path: string): Promise<void> {
    if (process.platform === 'win32') return; // which cannot open a folder
    const folder = await open(path, 'r');
    try {
        await folder.sync();
    } finally {
        await folder.close();
    }
}

export async function exists(path: string): Promise<boolean> {
    return stat(path).then(
        () => true,
        () => false,
    );
}

export async function unlinkIfThere(path: string): Promise<void> {
    await unlink(path).catch(ignoreMissing);
}

export function ignoreMissing(error: unknown): void {
    if (systemCode(error) !== 'ENOENT') throw error;
}
