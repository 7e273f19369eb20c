/** A form with one file (multipart/form-data), in pieces. */

import { randomBytes } from 'node:crypto';
import { PIECE, fileStream } from './spool/files.js';
import type { Bytes } from './messages/form.js';

export interface Form {
    contentType: string;
    body: AsyncIterable<Uint8Array>;
}

/** The form with these fields and this file. Its bytes are read while it is sent. */
export function multipart(fields: Record<string, string>, bytes: Bytes): Form {
    const boundary = `esteira-${randomBytes(16).toString('hex')}`;
    return { contentType: `multipart/form-data; boundary=${boundary}`, body: pieces(boundary, fields, bytes) };
}

async function* pieces(boundary: string, fields: Record<string, string>, bytes: Bytes): AsyncGenerator<Uint8Array> {
    const text = Object.entries(fields).map(([name, value]) => {
        return `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"\r\n\r\n${value}\r\n`;
    });
    const filename = quoted(fields['filename'] ?? '');
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n`;
    yield Buffer.from(`${text.join('')}${head}Content-Type: application/octet-stream\r\n\r\n`);
    if ('file' in bytes) yield* fileStream(bytes.file);
    else for (let at = 0; at < bytes.data.length; at += PIECE) yield bytes.data.subarray(at, at + PIECE);
    yield Buffer.from(`\r\n--${boundary}--\r\n`);
}

/** A name in the form in which browsers write it. */
function quoted(name: string): string {
    return name.replace(/"/g, '%22').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}
