/** Messages in the form of WhatsApp Web, which several libraries pass on: the hook of WPPConnect takes them. */

import { MessageError } from '../errors.js';
import { attachmentId, messageIdentity } from './ids.js';
import { isObject, plain } from './plain.js';
import type { HandOver, WithoutMedia } from './form.js';

const PATH = '/hooks/wppconnect';
const GATEWAY = 'wppconnect';
/** What the server reads. A message has much more: the chat, the contact, the quoted message. */
const FIELDS = [
    ...[
        'author',
        'body',
        'caption',
        'chatId',
        'clientUrl',
        'deprecatedMms3Url',
        'directPath',
        'encFilehash',
        'fileUrl',
    ],
    ...['filehash', 'filename', 'from', 'fromMe', 'id', 'isMMS', 'isMedia', 'mediaKey', 'mimetype', 'participantAlt'],
    ...['remoteJidAlt', 'senderPn', 'size', 't', 'timestamp', 'to', 'type', 'uploadhash'],
];
const WITHOUT_MEDIA = new Set(['chat', 'protocol', 'reaction', 'revoked']);

/** The hand-over of a message of WhatsApp Web. Throws MessageError. */
export function webHandOver(msg: Record<string, unknown>, session: string): HandOver | WithoutMedia {
    const messageId = idText(msg['id']);
    if (!messageId) throw new MessageError('the message has no id');
    if (typeof msg['type'] === 'string' && WITHOUT_MEDIA.has(msg['type'])) return { messageId, path: null };
    const fields: Record<string, unknown> = {};
    for (const name of FIELDS) if (msg[name] !== undefined && msg[name] !== null) fields[name] = plain(msg[name]);
    const sender = contact(msg['sender']);
    if (sender !== undefined) fields['sender'] = sender;
    fields['id'] = messageId;
    const fromMe = msg['fromMe'] === true;
    const chat = address(msg['chatId'] || msg[fromMe ? 'to' : 'from']);
    const id = attachmentId(GATEWAY, session, messageIdentity(messageId, chat, fromMe));
    return { path: PATH, id, messageId, body: { ...fields, event: 'onmessage', session } };
}

function contact(sender: unknown): unknown {
    if (!isObject(sender)) return sender ?? undefined;
    const fields = { id: address(sender['id']), phoneNumber: address(sender['phoneNumber']) };
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
}

/** The id of a message as text, put together from its parts if WhatsApp Web leaves `_serialized` empty. */
function idText(id: unknown): string {
    if (!isObject(id)) return typeof id === 'string' || typeof id === 'number' ? String(id) : '';
    if (id['_serialized']) return String(id['_serialized']);
    const parts = [id['fromMe'] === true ? 'true' : 'false', address(id['remote']), id['id']];
    if (id['participant']) parts.push(address(id['participant']));
    return parts.every((part) => typeof part === 'string' && part) ? parts.join('_') : '';
}

function address(value: unknown): string {
    if (!isObject(value)) return typeof value === 'string' ? value : '';
    if (value['_serialized']) return String(value['_serialized']);
    return value['user'] && value['server'] ? `${String(value['user'])}@${String(value['server'])}` : '';
}
