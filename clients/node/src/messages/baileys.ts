/** Baileys: the messages of `sock.ev.on('messages.upsert', …)`. The hook of Evolution API takes them: it runs Baileys. */

import { MessageError } from '../errors.js';
import { attachmentId } from './ids.js';
import { isObject, plain } from './plain.js';
import type { MessageForm } from './form.js';

/** Contents that have no file. Every other content goes to the server, which knows all wrappers. */
const WITHOUT_MEDIA = new Set([
    'conversation',
    'extendedTextMessage',
    'messageContextInfo',
    'protocolMessage',
    'reactionMessage',
    'senderKeyDistributionMessage',
]);
const FIELDS = ['key', 'message', 'messageTimestamp', 'participant'];

export const baileys: MessageForm = {
    matches: (msg) => isObject(msg['key']) && ('remoteJid' in msg['key'] || 'message' in msg),
    handOver(msg, session) {
        const messageId = (msg['key'] as Record<string, unknown>)['id'];
        if (typeof messageId !== 'string' || !messageId) throw new MessageError('the message has no key.id');
        if (!hasMedia(msg['message'])) return { messageId, path: null };
        const data: Record<string, unknown> = {};
        for (const name of FIELDS) if (msg[name] !== undefined && msg[name] !== null) data[name] = plain(msg[name]);
        const body = { event: 'messages.upsert', instance: session, data };
        return { path: '/hooks/evolution', id: attachmentId('evolution', session, messageId), messageId, body };
    },
};

function hasMedia(content: unknown): boolean {
    if (!isObject(content)) return false; // a stub, or a message that could not be decrypted
    return Object.entries(content).some(([name, value]) => value !== null && !WITHOUT_MEDIA.has(name));
}
