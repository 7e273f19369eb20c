/** The ids of attachments, as the server derives them from a message (pipeline/models/attachment.py). */

import { createHash } from 'node:crypto';

// The blanks of Python's `\s`, which are not quite those of JavaScript.
const BLANK = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const WORD = `[^_@${BLANK}]+`;
// `true_5511…@c.us_3EB0…`, in a group followed by the member, in a chat with oneself by `out`.
const SERIALIZED = new RegExp(`^(true|false)_(${WORD}@${WORD})_(${WORD})(?:_[^${BLANK}]*)?$`, 'u');
const BARE = new RegExp(`^${WORD}$`, 'u');
const PERSON = new RegExp(`^[^@${BLANK}]+@(?:c\\.us|s\\.whatsapp\\.net|lid|hosted|hosted\\.lid)$`, 'u');

/** The id of the attachment of a message: 32 hex digits. */
export function attachmentId(gateway: string, session: string, messageId: string, part = 0): string {
    const text = `[${[gateway, session, messageId].map(asciiJson).join(', ')}, ${part}]`;
    return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** What all forms of the id of a WhatsApp message have in common; the id itself if it has no known form. */
export function messageIdentity(messageId: string, chat: string, fromMe: boolean): string {
    const serialized = SERIALIZED.exec(messageId);
    if (serialized) {
        const [, direction = '', place = '', own = ''] = serialized;
        return `${direction}:${PERSON.test(place) ? '' : place}:${own}`;
    }
    if (!BARE.test(messageId)) return messageId;
    return `${String(fromMe)}:${PERSON.test(chat) ? '' : chat}:${messageId}`;
}

/** A text as JSON in ASCII: the form that the server hashes. */
function asciiJson(text: string): string {
    return JSON.stringify(text).replace(
        /[\u007f-\uffff]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
}
