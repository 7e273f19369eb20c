/** The generic form: the fields of an attachment, for any program. Its bytes may be in memory or in a file. */

import { MessageError } from '../errors.js';
import { attachmentId } from './ids.js';
import { plain } from './plain.js';
import type { Bytes, MessageForm } from './form.js';

/** The fields of an attachment. One of url, data, file and direct_path is needed. */
export interface GenericMessage {
    message_id: string | number;
    session?: string;
    part?: number;
    url?: string;
    /** The whole file: bytes, or base64. */
    data?: Uint8Array | string;
    /** The path of a local file. It may be deleted when the hand-over has returned. */
    file?: string;
    kind?: 'image' | 'video' | 'audio' | 'ptt' | 'document' | 'sticker';
    mimetype?: string;
    filename?: string;
    size?: number;
    media_key?: string | Uint8Array;
    direct_path?: string;
    file_sha256?: string | Uint8Array;
    file_enc_sha256?: string | Uint8Array;
    from_me?: boolean;
    chat?: string;
    sender?: string;
    chat_number?: string;
    sender_number?: string;
    caption?: string;
    timestamp?: number;
    expires_at?: number;
}

const PATH = '/hooks/media';

export const generic: MessageForm = {
    matches: (msg) => 'message_id' in msg,
    handOver(msg, session) {
        const { data, file, ...rest } = msg;
        const messageId = idOf(rest['message_id']);
        const body = { ...(plain(rest) as Record<string, unknown>), session };
        const part = typeof rest['part'] === 'number' ? rest['part'] : 0;
        const handOver = { path: PATH, id: attachmentId('media', session, messageId, part), messageId };
        const bytes = bytesOf(data, file);
        return bytes ? { ...handOver, fields: textFields(body), bytes } : { ...handOver, body };
    },
};

function idOf(value: unknown): string {
    if (value === undefined || value === null || value === '') throw new MessageError('message_id is missing');
    if (typeof value === 'string' || typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
    throw new MessageError('message_id is neither a text nor a whole number');
}

function bytesOf(data: unknown, file: unknown): Bytes | null {
    if (data !== undefined && data !== null && file !== undefined && file !== null) {
        throw new MessageError('data and file are both set: leave one out');
    }
    if (typeof file === 'string' && file) return { file };
    if (file !== undefined && file !== null) throw new MessageError('file is not a path');
    if (data === undefined || data === null) return null;
    if (data instanceof Uint8Array) return notEmpty(data);
    if (typeof data !== 'string') throw new MessageError('data is neither bytes nor base64');
    return notEmpty(decoded(data));
}

function notEmpty(data: Uint8Array): Bytes {
    if (data.length === 0) throw new MessageError('data is empty');
    return { data };
}

function decoded(text: string): Uint8Array {
    const digits = text.replace(/^data:[^,]{0,255},/, '').replace(/\s+/g, '');
    if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(digits)) throw new MessageError('data is not base64');
    return Buffer.from(digits, 'base64');
}

/** The fields of a form; lists and objects as JSON. Empty ones are left out: in a form they would be texts. */
function textFields(fields: Record<string, unknown>): Record<string, string> {
    const named = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== '');
    return Object.fromEntries(named.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]));
}
