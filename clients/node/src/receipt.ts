/** The receipt of a hand-over. */

import { UnavailableError } from './errors.js';
import { isObject } from './messages/plain.js';
import type { EsteiraError } from './errors.js';

/** The states of an attachment in the catalogue. */
export type Status = 'received' | 'stored' | 'done' | 'rejected' | 'failed' | 'expired' | 'deleted';

export interface ReceivedAttachment {
    id: string;
    messageId: string;
    /** Null while it is only in the spool. */
    status: Status | null;
}

export interface Receipt {
    /** The id of the attachment; null if nothing was accepted. */
    id: string | null;
    messageId: string;
    /**
     * `accepted`: the server has recorded it. `ignored`: no media, or a rule of INTAKE_RULES refuses it. `spooled`: it
     * is in the spool, synced to disk. `fallback`: the fallback has processed it.
     */
    mode: 'accepted' | 'ignored' | 'spooled' | 'fallback';
    status: Status | null;
    attachments: readonly ReceivedAttachment[];
    /** The code of the error because of which it was spooled or processed by the fallback. */
    reason: string | null;
    /** What the fallback has returned. */
    result?: unknown;
}

/** The receipt in an answer of a hook. Throws UnavailableError if something else has answered. */
export function receiptOf(answer: unknown, messageId: string): Receipt {
    const accepted = isObject(answer) ? answer['accepted'] : undefined;
    if (!Array.isArray(accepted) || !accepted.every(isAttachment)) {
        throw new UnavailableError('bad_reply', 'the answer is not one of a hook');
    }
    const attachments = accepted.map((one) => ({ id: one.id, messageId: one.message_id, status: one.status }));
    const first = attachments[0];
    if (!first) return ignored(messageId);
    return { id: first.id, messageId, mode: 'accepted', status: first.status, attachments, reason: null };
}

function isAttachment(value: unknown): value is { id: string; message_id: string; status: Status } {
    return isObject(value) && ['id', 'message_id', 'status'].every((name) => typeof value[name] === 'string');
}

/** The receipt for a message without media. */
export function ignored(messageId: string): Receipt {
    return { id: null, messageId, mode: 'ignored', status: null, attachments: [], reason: null };
}

/** The receipt for a hand-over that is not with the server yet. */
export function later(mode: 'spooled' | 'fallback', id: string, messageId: string, error: EsteiraError): Receipt {
    const attachments = [{ id, messageId, status: null }];
    return { id, messageId, mode, status: null, attachments, reason: error.code };
}
