/** A hand-over in the spool. */

import { SpoolError } from '../errors.js';
import { isObject } from '../messages/plain.js';

export interface Entry {
    v: 1;
    path: string;
    id: string;
    message_id: string;
    /** Unix milliseconds of the hand-over. */
    at: number;
    /** The JSON to send; a hand-over with bytes has `fields` and `file` in its place. */
    body?: Record<string, unknown>;
    fields?: Record<string, string>;
    file?: { name: string; size: number };
}

/** The hand-over in a text. Throws SpoolError `spool_damaged`: the message names the file and what is wrong. */
export function checkedEntry(name: string, text: string): Entry {
    let entry: unknown;
    try {
        entry = JSON.parse(text);
    } catch {
        throw new SpoolError('spool_damaged', `${name}: no JSON`);
    }
    const wrong = isObject(entry) ? wrongField(entry, name) : 'its form';
    if (wrong) throw new SpoolError('spool_damaged', `${name}: ${wrong} is wrong`);
    return entry as Entry;
}

function wrongField(entry: Record<string, unknown>, name: string): string | null {
    if (entry['v'] !== 1) return 'the version';
    if (typeof entry['path'] !== 'string' || !/^\/hooks\/[a-z]+$/.test(entry['path'])) return 'path';
    for (const field of ['id', 'message_id']) if (typeof entry[field] !== 'string') return field;
    if (typeof entry['at'] !== 'number') return 'at';
    if (entry['file'] === undefined) return isObject(entry['body']) ? null : 'body';
    const file = entry['file'];
    // The name is not taken from the file: it may not lead out of the folder.
    const isOwn = isObject(file) && file['name'] === name.replace(/json$/, 'bin') && typeof file['size'] === 'number';
    return isOwn && isObject(entry['fields']) ? null : 'file';
}
