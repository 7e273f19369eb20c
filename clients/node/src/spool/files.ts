/** Single files of the spool. */

import { createReadStream, createWriteStream } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemCode } from '../errors.js';
import type { Bytes } from '../messages/index.js';

export async function sizeOf(bytes: Bytes): Promise<number> {
    if ('data' in bytes) return bytes.data.length;
    return (await stat(bytes.file)).size;
}

/** Writes bytes to a new file, and syncs it. */
export async function writeBytes(path: string, bytes: Bytes): Promise<void> {
    const source = 'data' in bytes ? Readable.from([bytes.data]) : createReadStream(bytes.file);
    await pipeline(source, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
    const file = await open(path, 'r+');
    try {
        await file.sync();
    } finally {
        await file.close();
    }
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
